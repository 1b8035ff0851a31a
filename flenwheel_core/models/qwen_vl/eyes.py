"""The eyes of a model alone: the vision tower with its projector, and what it sees of each picture, made once and kept by content."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flenwheel_core.base.ids import Digest, Json
from flenwheel_core.engine.placed_pictures import picture_digest
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.memory.card import free_memory
from flenwheel_core.models.qwen_vl.geometry import VISION, VlGeometry
from flenwheel_core.models.qwen_vl.weights import VlSource, eyes_digest
from flenwheel_core.transformer.sources import WeightSource

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Seen:
    """What the eyes make of one picture."""

    features: Tensor
    """(levels, tokens, width), on the CPU."""
    grid: Tensor
    """Patches: (1, rows, columns)."""


def load_tower(geometry: VlGeometry, source: WeightSource) -> Any:
    """The vision tower with its projector, frozen, never quantised, where its source puts it; nothing else is read."""
    tower = geometry.empty_tower()
    tower.load_state_dict({name: source.tensor(f"{VISION}.{name}") for name in tower.state_dict()}, assign=True)
    return tower.to(next(tower.parameters()).device).requires_grad_(False).eval()


def open_processor(folder: Path, geometry: VlGeometry, most_pixels: int | None = None) -> Any:
    """The folder's processor; pictures of more than `most_pixels` are shown smaller.

    Its sizes are set on the object itself: as arguments they would stay with every later processor of the process.
    """
    from transformers import AutoProcessor

    processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
    size = processor.image_processor.size
    most = (
        int(size["longest_edge"]) if most_pixels is None else max(most_pixels, geometry.side**2)
    )  # "edges" are pixels here
    most = min(int(size["longest_edge"]), most)
    processor.image_processor.size = {"shortest_edge": min(int(size["shortest_edge"]), most), "longest_edge": most}
    return processor


def patches_of(processor: Any, image: "Image") -> tuple[Tensor, Tensor]:
    """A picture as the eyes take it: patches (patches, values) and their grid (1, 3)."""
    made = processor.image_processor(images=[image.convert("RGB")], return_tensors="pt")
    return made["pixel_values"], made["image_grid_thw"]


@dataclass
class Eyes:
    """Features of pictures. The tower is loaded for the first picture that is not kept yet, and left within `opened` only."""

    folder: Path
    geometry: VlGeometry
    processor: Any
    device: torch.device
    dtype: torch.dtype
    cache: TensorCache
    digest: Digest = ""
    """Of the tower's weights as they were read; empty before the first time."""
    looked: int = 0
    """How many pictures the tower itself has seen, and the cache had not."""
    _tower: Any = field(default=None, repr=False)

    def see(self, images: Sequence["Image"]) -> list[Seen]:
        """What the eyes see of each picture, looked at alone: it does not depend on its company."""
        return [self._see(image) for image in images]

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The tower may be on the card within this context, and leaves it afterwards."""
        try:
            yield
        finally:
            self._tower = None
            free_memory()

    @property
    def tower(self) -> Any:
        """The tower, loaded now if it was not."""
        if self._tower is None:
            self._tower = load_tower(self.geometry, VlSource(self.folder, self.device, self.dtype))
            self.digest = eyes_digest(dict(self._tower.named_parameters()))
        return self._tower

    def _see(self, image: "Image") -> Seen:
        key = self._key(image)
        kept = self.cache.get(key)
        if kept is None:
            pixels, grid = patches_of(self.processor, image)
            with torch.no_grad():
                features = self.geometry.features(self.tower, pixels.to(self.device, self.dtype), grid.to(self.device))
            kept = self.cache.put(key, {"features": features.cpu(), "grid": grid[0].cpu()})
            self.looked += 1
        return Seen(kept["features"], kept["grid"])

    def _key(self, image: "Image") -> Json:
        """Everything that determines features: pixels, how they are scaled and by which code, and the weights that see them."""
        shower = self.processor.image_processor
        size: dict[str, Json] = {name: int(value) for name, value in dict(shower.size).items()}
        return {
            "kind": "qwen_vl features",
            "image": picture_digest(image.convert("RGB")),
            "size": size,
            "by": type(shower).__name__,
            "eyes": self._weights(),
            "dtype": str(self.dtype),
        }

    def _weights(self) -> Digest:
        """Read once in a process: the tower is a small part of the folder."""
        if not self.digest:
            source = VlSource(self.folder, torch.device("cpu"), self.dtype)
            names = [name for name, _ in self.geometry.empty_tower().named_parameters()]
            self.digest = eyes_digest({name: source.tensor(f"{VISION}.{name}") for name in names})
        return self.digest
