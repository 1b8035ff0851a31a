"""What a stage needs to know of a character."""

from pydantic import Field

from flenwheel_core.base.document import Document


class CharacterRef(Document):
    """What every stage needs to know of a character."""

    name: str
    trigger: str
    class_word: str
    kind: str = Field(description="person (a human face) or subject (everything else)")
