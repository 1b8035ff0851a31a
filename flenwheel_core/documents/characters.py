"""What a stage needs to know of a character, or of a style: both are subjects of a flywheel."""

from typing import Literal

from pydantic import Field

from flenwheel_core.base.document import Document

SubjectKind = Literal["person", "subject", "style"]
KINDS_SAID = (
    "person (a human face), subject (everything else that is somebody or something) or style (how pictures are painted)"
)


class CharacterRef(Document):
    """What every stage needs to know of a character."""

    name: str
    trigger: str
    class_word: str
    kind: str = Field(description=KINDS_SAID)

    @property
    def words(self) -> str:
        """Trigger and class word, as captions and prompts have them."""
        return f"{self.trigger} {self.class_word}"
