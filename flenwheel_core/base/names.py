"""What characters, triggers and class words may be called: one rule for every door, in words a person understands."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field

from flenwheel_core.base.errors import InputError

LONGEST = 40


@dataclass(frozen=True)
class NameRule:
    """What a kind of name may hold."""

    what: str
    pattern: str
    shortest: int
    allowed: str
    why: str
    joint: str
    example: str

    def fits(self, text: str) -> bool:
        """True for a name that may be used."""
        return self.shortest <= len(text) <= LONGEST and re.fullmatch(self.pattern, text) is not None

    def check(self, text: str) -> str:
        """The name itself; raises InputError that says what is allowed and proposes a name."""
        if not self.fits(text):
            raise InputError(
                f"{text[:80]!r} cannot be {self.what}.",
                why=self.why,
                remedy=f"Use {self.shortest} to {LONGEST} {self.allowed}, such as {self.near(text)}.",
            )
        return text

    def validate(self, text: str) -> str:
        """The same as a validator of pydantic: raises ValueError."""
        try:
            return self.check(text)
        except InputError as error:
            raise ValueError(f"{error.what} {error.remedy}") from None

    def near(self, text: str) -> str:
        """A name that fits and looks like the text."""
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
        found = re.sub(r"[^a-z0-9]+", self.joint, plain).strip(self.joint)[:LONGEST].strip(self.joint)
        return found if self.fits(found) else self.example


CHARACTER = NameRule(
    what="a character's name",
    pattern=r"[a-z0-9]+(-[a-z0-9]+)*",
    shortest=1,
    allowed="lowercase letters and digits, with single dashes between them",
    why="it becomes part of paths, links and the names of gates.",
    joint="-",
    example="mira",
)
TRIGGER = NameRule(
    what="a trigger",
    pattern=r"[a-z0-9][a-z0-9_]+",
    shortest=2,
    allowed="lowercase letters, digits and underscores",
    why="text encoders read capitals and small letters alike, and cut words at other signs.",
    joint="_",
    example="ohwx_char",
)
CLASS_WORD = NameRule(
    what="a class word",
    pattern=r"[a-z][a-z ]*",
    shortest=1,
    allowed="lowercase letters and spaces",
    why="it is a word the base model knows.",
    joint=" ",
    example="person",
)


def _field(rule: NameRule, description: str) -> object:
    schema: dict[str, object] = {"pattern": f"^{rule.pattern}$", "minLength": rule.shortest, "maxLength": LONGEST}
    return Field(description=description, json_schema_extra=schema)  # type: ignore[arg-type]


Trigger = Annotated[str, AfterValidator(TRIGGER.validate), _field(TRIGGER, "The instance token, such as ohwx_char.")]
ClassWord = Annotated[
    str, AfterValidator(CLASS_WORD.validate), _field(CLASS_WORD, "What the character is: person, dog, robot ...")
]
NewName = Annotated[str, AfterValidator(CHARACTER.validate), _field(CHARACTER, "The character's name.")]
"""The name of a character to be made. Those that are there are read as `ids.Slug`: an older store may hold longer ones."""
