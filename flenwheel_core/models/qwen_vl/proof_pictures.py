"""Pictures to ask about where none are at hand."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_FIELDS = 7


def patchwork(seed: int, side: int) -> "Image":
    """A square of coloured fields, the same for the same seed."""
    from PIL import Image

    fields = np.random.default_rng(seed).integers(0, 256, (_FIELDS, _FIELDS, 3), dtype=np.uint8)
    return Image.fromarray(fields).resize((side, side), Image.Resampling.BICUBIC)
