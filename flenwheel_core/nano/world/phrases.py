"""The words for one fact of a view, and back: what captions and edit instructions share."""

import re

from flenwheel_core.nano.world.views import CHOICES, VARIED

OWN = "own"
"""As a change of clothing: back to what the character itself wears."""


def article(words: str) -> str:
    """The words with `a` or `an`."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def clause(field: str, value: str) -> str:
    """One fact in words, such as `half-left view`; no commas."""
    match field:
        case "pose":
            return value if value in ("portrait", "t-pose") else f"{value} pose"
        case "expression":
            return "neutral expression" if value == "neutral" else value
        case "clothing":
            return "own clothes" if value == OWN else f"wearing {article(value)}"
        case _:
            return f"{value} {'view' if field == 'angle' else field}"


_VALUES = {clause(field, value): (field, value) for field in VARIED for value in (*CHOICES[field],)}
_VALUES[clause("clothing", OWN)] = ("clothing", OWN)


def read_clause(text: str) -> tuple[str, str] | None:
    """The fact that a clause says, as (field, value); None for words that are not of this grammar.

    Also understands `smiling expression`, `standing` and `photo style`.
    """
    words = re.sub(r"\s+", " ", text.strip(" .").lower())
    for form in (words, words.removesuffix(" expression"), f"{words} expression", f"{words} pose"):
        if form in _VALUES:
            return _VALUES[form]
    bare = words.removesuffix(" pose")
    return _VALUES.get(bare)
