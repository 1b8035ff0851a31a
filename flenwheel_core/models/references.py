"""Model references: a shipped model, a local folder, or `hub-id@revision`; and their pinned forms, which name the very bytes.

Shipped are `nano`, which is another model in each role, `nano_klein` (base and editor) and `nano_zimage` (base).
A pinned reference is `nano@DIGEST`, `/folder@DIGEST` or `hub-id@COMMIT`. Requests hold pinned references only, so that a model that
changes gives another request, never a silent mixture.
"""

import logging
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from flenwheel_core.base.errors import MissingWeightsError, RecipeError
from flenwheel_core.base.given_path import given_path, is_folder
from flenwheel_core.models.digests import all_files_digest, folder_digest, pin_of
from flenwheel_core.models.hub import HubUnreachableError, ask_hub, fetch, find_here, find_without_network
from flenwheel_core.models.model_files import require_loadable

if TYPE_CHECKING:
    from flenwheel_core.base.settings import Settings
    from flenwheel_core.models.embedded import NanoPart

_log = logging.getLogger(__name__)


class ModelRole(StrEnum):
    """What a model is used as; with `nano` it names the folder."""

    GENERATOR = "flux"
    EDITOR = "editor"
    CAPTIONER = "vlm"
    VERIFIER = "embedder"
    READER = "reader"


_SIBLINGS: dict[str, tuple["NanoPart", frozenset[ModelRole]]] = {
    "nano_klein": ("klein", frozenset({ModelRole.GENERATOR, ModelRole.EDITOR})),
    "nano_zimage": ("zimage", frozenset({ModelRole.GENERATOR})),
}
"""Shipped models besides `nano`, and what each can be."""


def pin_model(reference: str, role: ModelRole, settings: "Settings") -> str:
    """The pinned form of a reference. Fetches a hub model if it is not here yet."""
    name, _, revision = _split(reference)
    folder = resolve_model(reference, role, settings)
    if not is_hub_id(name):
        return f"{name}@{revision or pin_of(folder_digest(folder, digest_memory(settings)))}"
    return f"{name}@{folder.name}" if is_commit(folder.name) else reference


def resolve_model(reference: str, role: ModelRole, settings: "Settings") -> Path:
    """The local folder of a model. Fetches from the Hub only if the reference names a hub model.

    Raises RecipeError for a hub id without a revision, MissingWeightsError if the files are not to be had or are not the pinned ones.
    """
    name, _, revision = _split(reference)
    if is_shipped(reference):
        from flenwheel_core.models.embedded import weights_folder

        return _checked(weights_folder(shipped_part(name, role), settings.models), revision, reference, settings)
    folder = given_path(name)
    if name and is_folder(folder):
        return _checked(folder, revision, reference, settings)
    if not is_hub_id(name):
        raise MissingWeightsError(
            f"There is no model folder {name}.", remedy="Give an existing folder, `nano`, or hub-id@revision."
        )
    if not revision:
        raise RecipeError(
            f"The model reference {reference} names no revision.",
            why="a model that changes under a recipe cannot be reproduced.",
            remedy=f"Write {reference}@main to take what is there now, or {reference}@<commit>.",
        )
    return _fetch(name, revision, settings)


def own_folder(reference: str) -> Path | None:
    """The folder that a reference names, whatever it holds; None for models of the Hub and shipped ones."""
    name, _, _ = _split(reference)
    folder = given_path(name)
    return folder if name and not is_shipped(reference) and is_folder(folder) else None


def hub_reference(reference: str) -> tuple[str, str] | None:
    """Hub id and revision of a reference to the Hub; None for folders, shipped models, and ids without a revision."""
    name, _, revision = _split(reference)
    return (name, revision) if revision and is_hub_id(name) else None


def is_shipped(reference: str) -> bool:
    """True for the models that come with the program, pinned or not."""
    name = reference.partition("@")[0]
    return name == "nano" or name in _SIBLINGS


def shipped_part(reference: str, role: ModelRole) -> "NanoPart":
    """Which shipped folder a reference to a shipped model means. Raises RecipeError for a role that it cannot have."""
    name = reference.partition("@")[0]
    if name == "nano":
        return role.value
    part, roles = _SIBLINGS[name]
    if role not in roles:
        raise RecipeError(
            f"{name} cannot be used as {role.name.lower()}.",
            why=f"it is made to be {' and '.join(sorted(one.name.lower() for one in roles))}.",
            remedy="Name `nano` there.",
        )
    return part


def is_commit(revision: str) -> bool:
    """True for a revision that can never mean anything else."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def digest_memory(settings: "Settings") -> Path:
    """Where this machine remembers what files of weights hash to."""
    return settings.models / "digests"


def _split(reference: str) -> tuple[str, str, str]:
    """Name and revision; an @ inside a folder's name is not a revision."""
    if is_folder(given_path(reference)):
        return reference, "", ""
    return reference.rpartition("@") if "@" in reference else (reference, "", "")


def is_hub_id(name: str) -> bool:
    """True for what looks like a name on the Hub: owner/name."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name) is not None


def _checked(folder: Path, revision: str, reference: str, settings: "Settings") -> Path:
    require_loadable(folder, reference)
    if not revision:
        return folder
    memory = digest_memory(settings)
    found = pin_of(folder_digest(folder, memory))
    if revision != found and revision != pin_of(all_files_digest(folder, memory)):
        raise MissingWeightsError(
            f"The model {reference} is not the one in {folder}.",
            why=f"its files have the digest {found} now: they were replaced since this was made.",
            remedy="Bring the old files back to reproduce it, or start a new turn with the new ones.",
        )
    return folder


def _fetch(hub_id: str, revision: str, settings: "Settings") -> Path:
    """What is here and pinned by a commit is taken without asking; a branch is asked for while the Hub answers."""
    pinned = is_commit(revision)
    standing = find_here(hub_id, revision, settings)
    if pinned and standing is not None:
        return standing
    try:
        return fetch(ask_hub(hub_id, revision, settings), settings)
    except MissingWeightsError as error:  # the Hub is silent, or has the model no longer, or no longer for you
        here = standing
        if here is None and isinstance(error, HubUnreachableError):
            here = find_without_network(hub_id, revision, settings)
        if here is None:
            raise
        _log.info("%s: taken as it is here. %s", hub_id, error.what)
        return here
