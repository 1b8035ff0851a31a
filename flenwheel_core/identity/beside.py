"""How a picture with several people is framed for one of them: cut to the character where that leaves enough, the others hidden.

Only faces are known, so bodies are where bodies usually are: a head reaches above and beside its face, a body is about three faces
wide and goes down to the edge. The line between two people runs between their faces, nearer to the smaller one, so that hair,
shoulders and clothing stay with their owner as far as a straight line can tell. A person corrects the rest in the studio.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from flenwheel_core.documents.framings import Box, Framing

PixelBox = tuple[float, float, float, float]
HEAD_ABOVE, HEAD_BESIDE, HEAD_BELOW = 0.7, 0.45, 0.35
"""How far a head reaches beyond its face, in heights and widths of the face."""
BODY_BESIDE = 1.3
"""How far shoulders reach beyond the face on each side, in widths of the face."""
ROOM_BESIDE = 0.3
"""A cut keeps at least this much beside the character's face, in its widths; else only masks are used."""
TALLEST = 2.2
"""A cut is at most this many times as high as it is wide: training squeezes or cuts what is longer."""


@dataclass(frozen=True)
class Seen:
    """A face in pixels of its picture."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def x(self) -> float:
        return (self.left + self.right) / 2

    @property
    def y(self) -> float:
        return (self.top + self.bottom) / 2


def framing_for(size: tuple[int, int], character: PixelBox, others: Sequence[PixelBox], least_side_px: int) -> Framing:
    """The framing that keeps the character of a picture and leaves out the others."""
    own, rest = Seen(*character), [Seen(*box) for box in others]
    crop = _crop(size, own, rest, least_side_px)
    hidden = [_hidden(size, own, other) for other in rest]
    inside = [box for box in hidden if box is not None and (crop is None or _meets(box, crop))]
    return Framing(
        crop=None if crop is None else _box(crop, size), hidden=tuple(_box(box, size) for box in inside[:32])
    )


def _crop(size: tuple[int, int], own: Seen, rest: Sequence[Seen], least_side_px: int) -> PixelBox | None:
    """The largest upright strip around the character that no face beside it reaches into; None if it would be too small."""
    width, height = size
    left, right = 0.0, float(width)
    for other in rest:
        if _side_by_side(own, other):
            line = _line(own.x, own.width, other.x, other.width)
            left, right = (max(left, line), right) if other.x < own.x else (left, min(right, line))
    if (left, right) == (0.0, float(width)):
        return None
    room = ROOM_BESIDE * own.width
    enough = own.left - left >= min(room, own.left) and right - own.right >= min(room, width - own.right)
    top, bottom = 0.0, float(height)
    if bottom - top > TALLEST * (right - left):
        top = max(0.0, own.top - 1.2 * own.height)
        bottom = min(float(height), top + TALLEST * (right - left))
    if not enough or min(right - left, bottom - top) < least_side_px:
        return None
    return left, top, right, bottom


def _side_by_side(own: Seen, other: Seen) -> bool:
    """True if an upright line can part two faces; false for one above the other. A little of faces that touch may overlap."""
    if other.left >= own.right or other.right <= own.left:
        return True
    if other.top >= own.bottom or other.bottom <= own.top:
        return False
    return other.left >= own.right - 0.1 * own.width or other.right <= own.left + 0.1 * own.width


def _line(own: float, own_size: float, other: float, other_size: float) -> float:
    """Between two centres, so far from each as its face is large."""
    return own + (other - own) * own_size / (own_size + other_size)


def _hidden(size: tuple[int, int], own: Seen, other: Seen) -> PixelBox | None:
    """Head and body of somebody else, up to the line between the two; never the character's own face."""
    width, height = size
    top = max(0.0, other.top - HEAD_ABOVE * other.height)
    if _side_by_side(own, other):
        line = _line(own.x, own.width, other.x, other.width)
        line = min(line, own.left) if other.x < own.x else max(line, own.right)
        left = max(0.0, other.left - BODY_BESIDE * other.width)
        right = min(float(width), other.right + BODY_BESIDE * other.width)
        left, right = (left, min(right, line)) if other.x < own.x else (max(left, line), right)
        return (left, top, right, float(height)) if right > left else None
    # One above the other: only the head can be told apart, and the lower one's body is everybody's foreground.
    left = max(0.0, other.left - HEAD_BESIDE * other.width)
    right = min(float(width), other.right + HEAD_BESIDE * other.width)
    line = _line(own.y, own.height, other.y, other.height)
    bottom = min(float(height), other.bottom + HEAD_BELOW * other.height)
    top, bottom = (top, min(bottom, line)) if other.y < own.y else (max(top, line), bottom)
    return (left, top, right, bottom) if bottom > top and right > left else None


def _meets(one: PixelBox, other: PixelBox) -> bool:
    return min(one[2], other[2]) - max(one[0], other[0]) > 1 and min(one[3], other[3]) - max(one[1], other[1]) > 1


def _box(box: PixelBox, size: tuple[int, int]) -> Box:
    width, height = size
    left, top, right, bottom = box
    return Box(
        left=round(max(0.0, left / width), 4),
        top=round(max(0.0, top / height), 4),
        right=round(min(1.0, right / width), 4),
        bottom=round(min(1.0, bottom / height), 4),
    )
