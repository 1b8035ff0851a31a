"""Which tokens stand for words of a prompt."""

import re

import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.models.prompt_model import words_in

TEXT = "a woman beside a man, sad"
TOKENS = [match.span() for match in re.finditer(r"\w+|,", TEXT)]


def test_tokens_are_those_of_whole_words() -> None:
    assert words_in(TEXT, "man", TOKENS) == (4,)
    assert words_in(TEXT, ", sad", TOKENS) == (5, 6)
    moved = [(first + 10, last + 10) for first, last in TOKENS]
    assert words_in(TEXT, "woman beside", moved, begins=10) == (1, 2)
    with pytest.raises(InputError, match="does not say 'wom'"):
        words_in(TEXT, "wom", TOKENS)
