"""What is published, before it goes anywhere: files by name, and the record that is written last."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.given_path import given_path, is_folder
from flenwheel_core.base.ids import Digest, digest_bytes, digest_json
from flenwheel_core.models.references import hub_reference, is_shipped
from flenwheel_core.publishing.card import plain_reference
from flenwheel_core.publishing.space import space_files
from flenwheel_core.requests.publish import PublishRequest
from flenwheel_core.store import Store

RECORD = "publication.json"
_KEPT_HERE = ("provenance.json",)
"""It names every picture and decision by digest: for the workspace, and for whom it is handed to with `flenwheel export`."""


class PublicationFile(Document):
    """A file of a publication."""

    name: str
    sha256: Digest
    size_bytes: int


class Publication(Document):
    """The record beside a publication's files. It is written last: where it is, all of it is there."""

    publisher: str = "flenwheel"
    name: str
    what: str
    character: str = ""
    """Whose LoRA it is: a newer one of the same character may take its place. Older records do not say."""
    digest: Digest
    files: tuple[PublicationFile, ...]


@dataclass(frozen=True)
class Bundle:
    """Everything that is published, without the record."""

    name: str
    what: str
    character: str
    files: Mapping[str, bytes]

    def record(self) -> Publication:
        """The record of these files; the same files give the same one."""
        listed = tuple(
            PublicationFile(name=name, sha256=digest_bytes(data), size_bytes=len(data))
            for name, data in sorted(self.files.items())
        )
        digest = digest_json([[file.name, file.sha256] for file in listed])
        return Publication(name=self.name, what=self.what, character=self.character, digest=digest, files=listed)


def require_same_subject(standing: Publication, bundle: Bundle, place: str) -> None:
    """Raises InputError if what stands at a place is of another character, or a demo where a model is to go: it would be lost."""
    same = standing.character == bundle.character if standing.character else standing.name == bundle.name
    if not same or standing.what != bundle.what:
        raise InputError(
            f"{place} holds another publication.",
            why=f"{standing.name} ({standing.what}) would be replaced by {bundle.name} ({bundle.what}).",
            remedy="Name a place of its own, or remove what is there yourself.",
        )


def bundle_of(request: PublishRequest, store: Store, models: Path | None = None) -> Bundle:
    """The files that a request asks to publish; `models` is the folder of weights.

    Raises InputError if there can be no demo of this LoRA.
    """
    lora = request.export.lora
    kept = {file.name: file.digest for file in request.files if file.name not in _KEPT_HERE}
    files = {name: store.get_blob(digest) for name, digest in kept.items()}
    base = lora.base_model
    if _is_a_folder(base):
        files = {name: without_paths(name, data, base) for name, data in files.items()}
        for data in files.values():
            store.put_blob(data)  # whoever may not read the place is given the very file that lies there
    if request.what == "space":
        files = space_files(request.export, files[f"{lora.name}.safetensors"], models)
    return Bundle(name=lora.name, what=request.what, character=request.export.character.name, files=files)


def _is_a_folder(base: str) -> bool:
    """True for a base that is a folder, whether it is on this machine now or not."""
    name = base.rpartition("@")[0] or base
    return not is_shipped(base) and (is_folder(given_path(name)) or hub_reference(base) is None)


def without_paths(name: str, data: bytes, base: str) -> bytes:
    """A file of an export without the path of the base model's folder, which names people and their machines."""
    if name.endswith(".safetensors"):
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        said = header.get("__metadata__", {})
        header["__metadata__"] = {key: plain_reference(base) if value == base else value for key, value in said.items()}
        head = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        head += b" " * (-len(head) % 8)
        return len(head).to_bytes(8, "little") + head + data[8 + length :]
    if name.endswith(".png"):
        from PIL import Image

        buffer = io.BytesIO()
        with Image.open(io.BytesIO(data)) as image:
            image.convert("RGB").save(buffer, format="PNG")
        return buffer.getvalue()
    return data
