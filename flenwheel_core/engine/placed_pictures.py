"""Pictures and masks at the size that a model is to see."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.images.buckets import Placement, fit


@dataclass(frozen=True)
class PlacedPicture:
    """A picture to encode: its digest, where it goes, and how to get its pixels when they are needed."""

    digest: str
    placement: Placement
    load: Callable[[], Image.Image]


def picture_digest(picture: Image.Image) -> str:
    """Names the pixels of a picture, whatever file they came from."""
    return digest_bytes(f"{picture.mode} {picture.width}x{picture.height} ".encode() + picture.tobytes())


def mask_tokens(mask: Image.Image, placement: Placement, *, floor: float, pixels_per_token: int) -> torch.Tensor:
    """(tokens, 1) loss weights in [floor, 1] from a picture-sized grey mask (white counts fully)."""
    rows, columns = placement.height // pixels_per_token, placement.width // pixels_per_token
    small = fit(mask.convert("L").convert("RGB"), placement).convert("L").resize((columns, rows), Image.Resampling.BOX)
    grey = torch.from_numpy(np.asarray(small, dtype=np.float32) / 255)
    return (floor + (1 - floor) * grey).reshape(rows * columns, 1)
