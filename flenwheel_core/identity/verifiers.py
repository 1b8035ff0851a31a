"""Which verifier a reference names: `face`, `face:MODEL`, `style`, or a vision model (`nano`, a folder, hub-id@revision)."""

import os
from contextlib import AbstractContextManager

from flenwheel_core.base.errors import InputError, RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.identity.protocols import Verifier
from flenwheel_core.identity.style_verifier import STYLE, open_style_verifier
from flenwheel_core.models.references import ModelRole, resolve_model


def is_face(reference: str) -> bool:
    """True if the reference names a face verifier."""
    return reference == "face" or reference.startswith("face:")


def separate_reader(reader: str | None, verifier: str) -> str | None:
    """The reader to open beside the verifier; None if there is none, or if the verifier hints at the same in passing."""
    return None if reader is None or (is_face(reader) and is_face(verifier)) else reader


def open_verifier(reference: str, settings: Settings) -> AbstractContextManager[Verifier]:
    """A context that holds the verifier. Raises MissingWeightsError before any picture is read."""
    if reference == STYLE:
        return open_style_verifier()
    threads = settings.threads or os.cpu_count() or 1
    if is_face(reference):
        from flenwheel_core.identity.face_verifier import open_face_verifier
        from flenwheel_core.identity.face_weights import FACE_MODELS

        model = reference.partition(":")[2] or "Dlib"
        if model not in FACE_MODELS:
            raise RecipeError(
                f"There is no face verifier {model!r}.", remedy=f"Choose one of: {', '.join(sorted(FACE_MODELS))}."
            )
        return open_face_verifier(model, settings.models, threads)
    from flenwheel_core.identity.subject_verifier import open_subject_verifier

    return open_subject_verifier(resolve_model(reference, ModelRole.VERIFIER, settings), settings.threads)


def require_same_version(verifier: Verifier, fingerprint: Fingerprint) -> None:
    """Raises InputError if the fingerprint was made by another verifier: their distances mean nothing to each other."""
    if (verifier.name, verifier.version) != (fingerprint.verifier, fingerprint.verifier_version):
        raise InputError(
            "The identity fingerprint was made by another verifier.",
            why=f"it was made by {fingerprint.verifier} {fingerprint.verifier_version[:12]}, "
            f"and the recipe names {verifier.name} {verifier.version[:12]}.",
            remedy="Set models.verifier back, or ingest the sources again under a new character name.",
        )
