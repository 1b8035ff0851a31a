"""Where the subject of a picture is, so that zoom opens there: a guess from the pixels alone, good enough to start from.

The background is taken to be what the picture's rim shows; the subject is what differs from it and has detail. For a person the
upper part of that is taken, where the face is. Not covered: several subjects, busy backgrounds (the box is then simply large).
"""

from typing import TYPE_CHECKING

from flenwheel_core.base.document import Document

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE_PX = 64
SMALLEST_SHARE = 0.3
AIR = 1.3
"""The box is drawn this much wider than what stands out, so that the whole head is in view."""


class SubjectBox(Document):
    """A box in shares of the picture's width and height."""

    left: float
    top: float
    width: float
    height: float


WHOLE = SubjectBox(left=0, top=0, width=1, height=1)


def find_subject(image: "Image", *, person: bool) -> SubjectBox:
    """The box of the subject; the whole picture if nothing stands out."""
    import numpy as np

    pixels = np.asarray(image.convert("RGB").resize((SIDE_PX, SIDE_PX)), dtype=np.float32)
    rim = np.concatenate([pixels[:4].reshape(-1, 3), pixels[:, :4].reshape(-1, 3), pixels[:, -4:].reshape(-1, 3)])
    distance = np.linalg.norm(pixels - np.median(rim, axis=0), axis=2)
    grey = pixels.mean(axis=2)
    detail = np.abs(np.gradient(grey, axis=0)) + np.abs(np.gradient(grey, axis=1))
    weight = distance * (1 + detail / 16)
    weight[weight < np.quantile(weight, 0.6)] = 0
    if float(weight.sum()) < SIDE_PX:
        return WHOLE
    left, right = _middle(weight.sum(axis=0))
    top, bottom = _middle(weight.sum(axis=1))
    if person and bottom - top > 0.5:
        bottom = top + (bottom - top) * 0.6
    return _box(left, top, right, bottom)


def _middle(weights: "object") -> tuple[float, float]:
    """Where the central nine tenths of the weight lie, in shares of the length."""
    import numpy as np

    total = np.cumsum(np.asarray(weights, dtype=np.float64))
    total /= total[-1]
    low, high = np.searchsorted(total, [0.05, 0.95])
    return float(low) / len(total), float(high + 1) / len(total)


def _box(left: float, top: float, right: float, bottom: float) -> SubjectBox:
    width = min(1.0, max((right - left) * AIR, SMALLEST_SHARE))
    height = min(1.0, max((bottom - top) * AIR, SMALLEST_SHARE))
    left = min(max(0.0, (left + right - width) / 2), 1 - width)
    top = min(max(0.0, (top + bottom - height) / 2), 1 - height)
    return SubjectBox(left=round(left, 4), top=round(top, 4), width=round(width, 4), height=round(height, 4))
