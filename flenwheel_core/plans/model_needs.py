"""What models a recipe needs, and what of them is on this machine: looked at, nothing fetched."""

from dataclasses import dataclass, replace
from pathlib import Path

from flenwheel_core.base.errors import FlenwheelError, MissingWeightsError
from flenwheel_core.base.settings import Settings
from flenwheel_core.identity.style_verifier import STYLE
from flenwheel_core.models.hub import HubModel, HubUnreachableError, ask_hub, find_here, find_without_network
from flenwheel_core.models.hub_file import HubFile, ask_file, file_here, hub_file
from flenwheel_core.models.known_models import FACE_LICENCE, KNOWN_FILES, KNOWN_MODELS, SHIPPED_LICENCE
from flenwheel_core.models.left_out import is_left_out
from flenwheel_core.models.model_files import folder_files
from flenwheel_core.models.pinning import ROLES, ModelUse, chosen
from flenwheel_core.models.references import hub_reference, is_commit, is_shipped, resolve_model
from flenwheel_core.recipes.model import Recipe


@dataclass(frozen=True)
class ModelNeed:
    """One model of a recipe."""

    reference: str
    uses: tuple[str, ...]
    licence: str = ""
    gated: bool = False
    size_bytes: int | None = None
    """None: nobody knows."""
    remaining_bytes: int | None = 0
    """What is still to be fetched; None where the Hub must be asked."""
    note: str = ""
    hub: HubModel | None = None
    """What the Hub says, where it was asked."""
    left_out: bool = False
    """A person left it out when fetching: nothing fetches it unasked."""

    @property
    def is_here(self) -> bool:
        return self.remaining_bytes == 0 and not self.note

    @property
    def is_wanted(self) -> bool:
        """True if it is still to be fetched."""
        return not self.is_here and not self.left_out


def model_needs(recipe: Recipe, settings: Settings, *, ask: bool = True) -> list[ModelNeed]:
    """The models of a recipe, each once. With `ask` the Hub is asked about those that are not here; else the built-in table answers."""
    uses: dict[str, list[ModelUse]] = {}
    for use in ROLES:
        reference = getattr(recipe.models, use)
        edits = recipe.style is None  # nothing of a style is edited
        if reference is not None and (edits or use != "editor"):
            uses.setdefault(reference, []).append(use)
    found = [_need(recipe, reference, tuple(names), settings, ask) for reference, names in uses.items()]
    found = [replace(need, left_out=not need.is_here and is_left_out(need.reference, settings)) for need in found]
    loras = recipe.enrich.loras if recipe.style is None else ()
    files = [file for lora in loras if (file := hub_file(lora.file)) is not None]
    return [*found, *(_lora(file, settings, ask) for file in files)]


def _need(recipe: Recipe, reference: str, uses: tuple[ModelUse, ...], settings: Settings, ask: bool) -> ModelNeed:
    if reference == STYLE:
        return ModelNeed(reference, uses, "part of flenwheel", size_bytes=0)
    if chosen(recipe, uses[0]) is None:
        note, size = _faces(reference, settings)
        return ModelNeed(reference, uses, FACE_LICENCE, size_bytes=size, note=note)
    hub = hub_reference(reference)
    if hub is not None:
        return _on_the_hub(reference, uses, hub, settings, ask)
    shipped = is_shipped(reference)
    licence = SHIPPED_LICENCE if shipped else "your own folder"
    try:
        folders = {resolve_model(reference, ROLES[use], settings) for use in uses}
    except FlenwheelError as error:
        return ModelNeed(reference, uses, licence, note=error.what, remaining_bytes=None)
    size = sum(_size(folder) for folder in folders)
    return ModelNeed(reference, uses, licence, size_bytes=size)


def _on_the_hub(
    reference: str, uses: tuple[ModelUse, ...], hub: tuple[str, str], settings: Settings, ask: bool
) -> ModelNeed:
    hub_id, revision = hub
    known = KNOWN_MODELS.get(hub_id)
    licence, gated = (known.licence, known.gated) if known else ("", False)
    standing = find_here(hub_id, revision, settings)
    if standing is not None and (is_commit(revision) or not ask):
        return ModelNeed(reference, uses, licence, gated, _size(standing))
    note = ""
    if ask:
        try:
            model = ask_hub(hub_id, revision, settings)
            return ModelNeed(
                reference, uses, model.licence, model.gated, model.size_bytes, model.remaining_bytes, hub=model
            )
        except HubUnreachableError:
            note = "the Hub does not answer"
        except MissingWeightsError as error:
            note = error.what
    here = standing or find_without_network(hub_id, revision, settings)
    if here is not None:
        return ModelNeed(reference, uses, licence, gated, _size(here))
    size = known.size_bytes if known else None
    return ModelNeed(reference, uses, licence, gated, size, size, note)


def _lora(file: HubFile, settings: Settings, ask: bool) -> ModelNeed:
    known = KNOWN_FILES.get(f"{file.hub_id}:{file.path}")
    licence, size = (known.licence, known.size_bytes) if known else ("", None)
    here = file_here(file, settings)
    if here is not None and (is_commit(file.revision) or not ask):
        return ModelNeed(str(file), ("editor LoRA",), licence, size_bytes=here.stat().st_size)
    note = ""
    if ask:
        try:
            asked = ask_file(file, settings)
            facts = asked.licence, asked.gated, asked.size_bytes, asked.remaining_bytes
            return ModelNeed(str(file), ("editor LoRA",), *facts, hub=asked)
        except HubUnreachableError:
            note = "the Hub does not answer"
        except MissingWeightsError as error:
            note = error.what
    if here is not None:
        return ModelNeed(str(file), ("editor LoRA",), licence, size_bytes=here.stat().st_size)
    return ModelNeed(str(file), ("editor LoRA",), licence, False, size, size, note)


def _faces(reference: str, settings: Settings) -> tuple[str, int | None]:
    """What keeps the face verifier from being opened (empty if nothing does), and the size of its weights."""
    from flenwheel_core.identity.face_weights import FACE_MODELS, provide_weights

    model = FACE_MODELS.get(reference.partition(":")[2] or "Dlib")
    if model is None:
        return f"There is no face verifier {reference}.", None
    try:
        return "", provide_weights(model, settings.models).stat().st_size
    except FlenwheelError as error:
        return error.what, None


def _size(folder: Path) -> int:
    return sum((folder / name).stat().st_size for name in folder_files(folder).names)
