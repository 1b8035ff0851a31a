"""What the captioner learns from: pictures with the captions that people wrote or let stand."""

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest


class CaptionLesson(Document):
    """A picture and the caption it should have."""

    image: Digest
    caption: str = Field(min_length=1)
    corrected: bool = Field(
        description="a person wrote it; otherwise a person took the picture with this caption as good"
    )
    character: str
    trigger: str
    gate: str = Field(description="where that was decided")


class CaptionLessons(Document):
    """All lessons of a turn, in the order of gates."""

    lessons: tuple[CaptionLesson, ...]

    @property
    def corrected(self) -> int:
        """How many captions a person wrote."""
        return sum(lesson.corrected for lesson in self.lessons)
