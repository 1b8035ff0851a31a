"""What world 2 adds to a character: marks on one side, a pattern on the own clothes, something worn, and siblings.

Words say the kind and the side of a mark, the pattern and what is worn; where exactly a mark lies, its size and tone only pictures show.
"""

import random
from dataclasses import dataclass
from typing import Literal

Side = Literal["left", "right"]
"""The character's own: its left is on the viewer's right."""

MARKS = ("mole", "birthmark", "tattoo", "plaster", "paint")
PLACES: dict[str, tuple[float, float]] = {
    "cheek": (33, 0.26),
    "temple": (46, -0.2),
    "chin": (17, 0.8),
    "brow": (26, -0.42),
}
"""Azimuth and height of the head, as `head.py` counts them."""
PATTERNS = ("none", "dotted", "checked", "zigzag", "star", "heart")
"""Star and heart are a badge on the left of the chest; the others cover all of it."""
WORN = ("none", "cap", "headband", "scarf", "necklace", "headphones", "flower")
WORN_COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (206, 44, 44),
    "blue": (44, 96, 206),
    "green": (46, 150, 78),
    "yellow": (240, 204, 60),
    "purple": (132, 70, 176),
    "white": (240, 240, 236),
}
SIBLING_EVERY = 4
"""The last of so many seeds is the sibling of the one before it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something small on one side of the face; `shift` and `size` in [-1, 1] are its own."""

    kind: str
    side: Side
    place: str
    shift: float
    size: float

    @property
    def said(self) -> str:
        """What words say of it, such as `left mole`."""
        return f"{self.side} {self.kind}"


@dataclass(frozen=True, slots=True)
class Extras:
    """All that world 2 adds to one character; nothing in world 1."""

    marks: tuple[Mark, ...] = ()
    pattern: str = "none"
    worn: str = "none"
    worn_colour: str = "red"
    worn_side: Side = "left"
    """Of a flower."""


NO_EXTRAS = Extras()


def draw_extras(chance: random.Random) -> Extras:
    """The extras of a new character: one or two marks, mostly something worn or a pattern."""
    return Extras(
        marks=draw_marks(chance),
        pattern=chance.choice(PATTERNS),
        worn=chance.choice(("none", *WORN)),
        worn_colour=chance.choice(tuple(WORN_COLOURS)),
        worn_side=chance.choice(("left", "right")),
    )


def draw_marks(chance: random.Random) -> tuple[Mark, ...]:
    """One mark, or one on each side, in different places."""
    places = chance.sample(tuple(PLACES), 2 if chance.random() < 0.3 else 1)
    kinds = chance.sample(MARKS, len(places))
    sides: list[Side] = ["left", "right"]
    chance.shuffle(sides)
    return tuple(
        Mark(kind, side, place, chance.uniform(-1, 1), chance.uniform(-1, 1))
        for kind, side, place in zip(kinds, sides, places, strict=False)
    )
