"""What of a picture is the character's: where it is cut, which parts are hidden from training, and which faces it shows."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest

Share = Annotated[float, Field(ge=0, le=1)]
"""A place in a picture: 0 is its left or top edge, 1 its right or bottom edge."""
MOST_HIDDEN = 32


class Box(Document):
    """A rectangle of the upright picture, in shares of its width and height: it fits every size of the picture."""

    left: Share
    top: Share
    right: Share
    bottom: Share

    @model_validator(mode="after")
    def _has_a_surface(self) -> Self:
        if self.right <= self.left or self.bottom <= self.top:
            raise ValueError("a rectangle needs right > left and bottom > top")
        return self

    def pixels(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in a picture of that size; at least one pixel."""
        width, height = size
        left, top = min(width - 1, round(self.left * width)), min(height - 1, round(self.top * height))
        return left, top, max(left + 1, round(self.right * width)), max(top + 1, round(self.bottom * height))

    def text(self) -> str:
        """For a person: from left to right, and from top to bottom, in percent."""
        return f"{self.left:.0%}-{self.right:.0%} x {self.top:.0%}-{self.bottom:.0%}"

    def holds(self, x: float, y: float) -> bool:
        """True if a place lies inside."""
        return self.left <= x <= self.right and self.top <= y <= self.bottom


class Framing(Document):
    """What is learned of a picture: what `crop` cuts out, and of that not what `hidden` covers. Empty: all of it."""

    crop: Box | None = None
    hidden: tuple[Box, ...] = Field(default=(), max_length=MOST_HIDDEN, description="parts of the whole picture")

    def text(self) -> str:
        """For a person, in shares of the whole picture."""
        cut = "not cut" if self.crop is None else f"cut to {self.crop.text()}"
        return ", ".join([cut, *(f"hidden {box.text()}" for box in self.hidden)])


class FaceSeen(Document):
    """A face in a source picture, and how far it lies from the character."""

    box: Box
    distance: float | None = Field(default=None, description="to the centre of the faces taken for the character's")
    chosen: bool = Field(default=False, description="taken for the character's")


class SourceFraming(Document):
    """How one source picture was framed, and by whom."""

    file: str
    given: Digest = Field(description="the file as the user gave it")
    picture: Digest = Field(description="the stored source picture, after the cut")
    faces: tuple[FaceSeen, ...] = ()
    framing: Framing
    by: Literal["ingest", "person"]
