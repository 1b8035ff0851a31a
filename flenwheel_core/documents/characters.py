"""What a stage needs to know of a character, or of a style: both are subjects of a flywheel."""

from typing import Literal

from pydantic import Field

from flenwheel_core.base.document import Document

SubjectKind = Literal["person", "subject", "style"]
KINDS_SAID = (
    "person (a human face), subject (everything else that is somebody or something) or style (how pictures are painted)"
)


class Consent(Document):
    """Whose face a character has, and who vouches that it may be used. A person's words: nothing here can check them."""

    whose: str = Field(
        min_length=1,
        max_length=200,
        pattern=r"\S",
        description="whose face it is: a name, `my own`, or that it is an invented person",
    )
    vouched_by: str = Field(
        min_length=1,
        max_length=60,
        pattern=r"\S",
        description="who vouches that this person, or whoever may speak for them, agreed",
    )

    def text(self) -> str:
        """For cards and terminals."""
        return f"The face is {self.whose.strip()}. {self.vouched_by.strip()} vouches that it may be used."


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
