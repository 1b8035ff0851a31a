"""A cache of tensors on disk, keyed by digests of what they were made from, shared by all runs."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError

from flenwheel_core.base.ids import Json, digest_json
from flenwheel_core.base.whole_files import write_atomically
from flenwheel_core.engine.placed_pictures import PlacedPicture
from flenwheel_core.engine.tensor_file import read_tensors, tensor_bytes
from flenwheel_core.memory.card import free_memory

Encoder = TypeVar("Encoder")


def _nothing() -> None:
    return


@dataclass(frozen=True)
class TensorCache:
    """Tensors by the digest of everything that determines them; a damaged file counts as absent."""

    folder: Path
    ahead: Callable[[], None] = _nothing
    """Called before an encoder is loaded: what does not share the card with one leaves then."""

    def get(self, key: Json) -> dict[str, torch.Tensor] | None:
        try:
            return read_tensors(self._file(key))[0]
        except (OSError, SafetensorError):
            return None

    def put(self, key: Json, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Keeps tensors, and returns them as the file holds them: their memory is the file's, which the system may take back."""
        write_atomically(self._file(key), tensor_bytes(tensors))
        return read_tensors(self._file(key))[0]

    def get_or_make(self, key: Json, make: Callable[[], Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        found = self.get(key)
        if found is None:
            found = self.put(key, make())
        return found

    def of_texts(
        self,
        texts: Iterable[str],
        key: Callable[[str], Json],
        opened: Callable[[], AbstractContextManager[Encoder]],
        encode: Callable[[Encoder, str], Mapping[str, torch.Tensor]],
    ) -> dict[str, dict[str, torch.Tensor]]:
        """The tensors of every distinct text. The encoder is opened once, and only if something is not kept yet."""
        found = {text: self.get(key(text)) for text in dict.fromkeys(texts)}
        missing = [text for text, tensors in found.items() if tensors is None]
        if missing:
            self.ahead()
            with opened() as encoder, torch.no_grad():
                for text in missing:
                    found[text] = self.put(key(text), encode(encoder, text))
        return {text: tensors for text, tensors in found.items() if tensors is not None}

    def of_pictures(
        self,
        pictures: Iterable[PlacedPicture],
        facts: Mapping[str, Json],
        load: Callable[[], Encoder],
        encode: Callable[[Encoder, PlacedPicture], Mapping[str, torch.Tensor]],
    ) -> list[dict[str, torch.Tensor]]:
        """The tensors of each picture, in order; `facts` name the kind and the encoder. It is loaded once, and only if it must be."""
        encoder: Encoder | None = None
        found = []
        for picture in pictures:
            place: dict[str, Json] = {"scaled": list(picture.placement.scaled), "bucket": picture.placement.bucket}
            key: Json = {**facts, **place, "image": picture.digest}
            tensors = self.get(key)
            if tensors is None:
                if encoder is None:
                    self.ahead()
                    encoder = load()
                with torch.no_grad():
                    tensors = self.put(key, encode(encoder, picture))
            found.append(tensors)
        if encoder is not None:
            del encoder
            free_memory()
        return found

    def _file(self, key: Json) -> Path:
        name = digest_json(key)
        return self.folder / name[:2] / f"{name}.safetensors"
