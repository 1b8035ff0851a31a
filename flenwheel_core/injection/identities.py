"""What the photos of an identity say of it: features of each view, and their mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from PIL.Image import Resampling
from torch import Tensor

from flenwheel_core.models.prompt_model import PictureFeatures
from flenwheel_core.recipes.injection import HeadRecipe

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE_PX = 448
STEP_PX = 28


@dataclass(frozen=True)
class Identity:
    """Somebody, by features of their photos."""

    name: str
    features: Tensor
    """(views, inputs)"""

    def mean(self, views: Sequence[int] | None = None) -> Tensor:
        """(inputs,) of these views, of all if none are named."""
        return self.features.mean(0) if views is None else self.features[list(views)].mean(0)


def side_for(views: int, pixels: int) -> int:
    """Side in pixels that each of so many photos is shown at, so that together they stay within `pixels`: 448 at most."""
    side = min(SIDE_PX, int((pixels / max(1, views)) ** 0.5))
    return max(STEP_PX, side // STEP_PX * STEP_PX)


def square(image: "Image", side: int) -> "Image":
    """The middle square of a picture, at this side; a smaller one stays as it is."""
    least = min(image.size)
    left, top = (image.width - least) // 2, (image.height - least) // 2
    cut = image.convert("RGB").crop((left, top, left + least, top + least))
    return cut if least <= side else cut.resize((side, side), Resampling.LANCZOS)


def see(model: PictureFeatures, name: str, photos: "Sequence[Image]", recipe: HeadRecipe) -> Identity:
    """The features of somebody's photos, each of length 1."""
    side = side_for(len(photos), recipe.pixels)
    seen = model.features([square(photo, side) for photo in photos])
    return Identity(name, torch.stack([pooled(tokens, recipe.cells) for tokens in seen]))


def pooled(tokens: Tensor, cells: int) -> Tensor:
    """(cells * cells * width,) of a square picture's tokens (rows * rows, width): the mean of each part, of length 1 each."""
    rows = int(len(tokens) ** 0.5)
    grid = tokens[: rows * rows].view(rows, rows, -1).permute(2, 0, 1)[None]
    parts = torch.nn.functional.adaptive_avg_pool2d(grid, cells)[0].flatten(1).T
    return torch.nn.functional.normalize(parts, dim=-1).flatten()
