"""A model folder's weights by their names of today, read one tensor at a time, and the digest of the eyes."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from flenwheel_core.base.ids import Digest
from flenwheel_core.models.qwen_vl.geometry import VISION
from flenwheel_core.transformer.sources import FolderSource

_STEM = "model"
_OLDER = {"model.language_model.": "model.", "model.visual.": "visual."}
"""How the first releases began the names of the two parts."""


class VlSource:
    """The safetensors files of a folder, asked by the names that transformers 5 has, whichever names the files have."""

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        self._files = FolderSource(folder, device, dtype, stem=_STEM)

    def tensor(self, name: str) -> torch.Tensor:
        return self._files.tensor(self._on_disk(name))

    def shape(self, name: str) -> tuple[int, ...]:
        return self._files.shape(self._on_disk(name))

    def has(self, name: str) -> bool:
        return self._files.has(self._on_disk(name))

    def _on_disk(self, name: str) -> str:
        if not self._files.has(name):
            for today, older in _OLDER.items():
                if name.startswith(today):
                    return older + name.removeprefix(today)
        return name


def eyes_digest(tensors: Mapping[str, torch.Tensor]) -> Digest:
    """Names the weights of a tower with its projector: the sha256 of names, shapes and values in bfloat16 or as they are."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(json.dumps([name, list(tensor.shape), str(tensor.dtype)]).encode())
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()


def eyes_of(network: torch.nn.Module, prefix: str = f"{VISION}.") -> dict[str, torch.Tensor]:
    """The weights of the eyes of a whole network, by their names within them."""
    return dict(_stripped(network, prefix))


def _stripped(network: torch.nn.Module, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    for name, parameter in network.named_parameters():
        if name.startswith(prefix):
            yield name.removeprefix(prefix), parameter
