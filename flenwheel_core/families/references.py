"""Model references: `nano`, a local folder, or `hub-id@revision`; and their pinned forms, which name the very bytes.

A pinned reference is `nano@DIGEST`, `/folder@DIGEST` or `hub-id@COMMIT`. Requests hold pinned references only, so that a model that
changes gives another request, never a silent mixture.
"""

import hashlib
import json
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from flenwheel_core.errors import MissingWeightsError, RecipeError

if TYPE_CHECKING:
    from flenwheel_core.settings import Settings

_PIN_LENGTH = 12
_WEIGHTS = {".safetensors", ".json", ".txt", ".model", ".jinja"}


class ModelRole(StrEnum):
    """What a model is used as; with `nano` it names the folder."""

    GENERATOR = "flux"
    EDITOR = "editor"
    CAPTIONER = "vlm"
    VERIFIER = "embedder"
    READER = "reader"


def pin_model(reference: str, role: ModelRole, settings: "Settings") -> str:
    """The pinned form of a reference. Fetches a hub model if it is not here yet."""
    name, _, revision = _split(reference)
    folder = resolve_model(reference, role, settings)
    if name == "nano" or not _is_hub_id(name):
        return f"{name}@{revision or folder_digest(folder, settings)}"
    return f"{name}@{folder.name}" if re.fullmatch(r"[0-9a-f]{40}", folder.name) else reference


def resolve_model(reference: str, role: ModelRole, settings: "Settings") -> Path:
    """The local folder of a model. Fetches from the Hub only if the reference names a hub model.

    Raises RecipeError for a hub id without a revision, MissingWeightsError if the files are not to be had or are not the pinned ones.
    """
    name, _, revision = _split(reference)
    if name == "nano":
        from flenwheel_core.nano import weights_folder

        return _checked(weights_folder(role.value), revision, reference, settings)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(folder, revision, reference, settings)
    if not _is_hub_id(name):
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


def folder_digest(folder: Path, settings: "Settings") -> str:
    """A digest of a model folder's weights and configuration. Large folders are hashed once and remembered by size and time."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in _WEIGHTS and path.is_file())
    stamp = [(str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    key = hashlib.sha256(json.dumps([str(folder.resolve()), stamp]).encode()).hexdigest()
    remembered = settings.models / "digests" / key
    if remembered.is_file():
        return remembered.read_text()
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            total.update(f"{path.relative_to(folder)} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    digest = total.hexdigest()[:_PIN_LENGTH]
    remembered.parent.mkdir(parents=True, exist_ok=True)
    remembered.write_text(digest)
    return digest


def _split(reference: str) -> tuple[str, str, str]:
    """Name and revision; an @ inside a folder's name is not a revision."""
    if Path(reference).expanduser().is_dir():
        return reference, "", ""
    return reference.rpartition("@") if "@" in reference else (reference, "", "")


def _is_hub_id(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name) is not None


def _checked(folder: Path, revision: str, reference: str, settings: "Settings") -> Path:
    if revision:
        found = folder_digest(folder, settings)
        if found != revision:
            raise MissingWeightsError(
                f"The model {reference} is not the one in {folder}.",
                why=f"its files have the digest {found} now: they were replaced since this was made.",
                remedy="Bring the old files back to reproduce it, or start a new turn with the new ones.",
            )
    return folder


def _fetch(hub_id: str, revision: str, settings: "Settings") -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = snapshot_download(
            hub_id,
            revision=revision,
            cache_dir=settings.models / "hub",
            ignore_patterns=["*.bin", "*.pt", "*.pth", "*.ckpt", "*.msgpack", "*.onnx", "*.py"],
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise MissingWeightsError(
            f"The model {hub_id}@{revision} is not on this machine and could not be fetched.",
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
            remedy="Check the name and the network; gated models need `hf auth login`. `nano` needs neither.",
        ) from error
    return Path(path)
