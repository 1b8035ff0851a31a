"""Where a text says words: as whole words, whatever stands around them."""

import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.wording import mention, require_mention


@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ("a portrait of a woman", "man", None),
        ("a woman and a man, smiling", "man", "man"),
        ("a manner of men", "man", None),
        ("photo of (PERSON), sad", "person", "PERSON"),
        ("photo of a person, sad", ", sad", ", sad"),
        ("a tall person", " tall person ", "tall person"),
        ("a person", "", None),
        ("what is a.b here", "a.b", "a.b"),
        ("what is axb here", "a.b", None),
    ],
)
def test_words_are_found_whole(text: str, words: str, found: str | None) -> None:
    place = mention(text, words)
    assert (None if place is None else text[slice(*place)]) == found


def test_a_prompt_without_the_words_is_refused() -> None:
    assert require_mention("a man", "man") == (2, 5)
    with pytest.raises(InputError, match="'a woman' does not say 'man'"):
        require_mention("a woman", "man")
