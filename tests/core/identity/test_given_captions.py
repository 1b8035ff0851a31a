"""Captions as other tools write them become training captions, and what was changed is said."""

import pytest

from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.identity.given_captions import about_tokens, training_caption

CHARACTER = CharacterRef(name="hero", trigger="ohwx_char", class_word="person", kind="person")


def made(given: str, tokens: int | None = 512) -> tuple[str, list[str]]:
    found = training_caption(given, CHARACTER, tokens)
    return found.text, [doubt.code for doubt in found.doubts]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("[trigger] sitting on a chair", "ohwx_char sitting on a chair"),
        ("photo of [name], smiling", "photo of ohwx_char, smiling"),
        ("[ Trigger ] and a dog", "ohwx_char and a dog"),
        ("a person on a beach", "ohwx_char person on a beach"),
        ("hero_(series), smiling (happy)", "photo of ohwx_char person, hero_(series), smiling (happy)"),
    ],
)
def test_placeholders_become_the_trigger(given: str, expected: str) -> None:
    assert made(given) == (expected, [])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("(ohwx_char:1.2), <lora:x:0.8>, smiling", "ohwx_char, smiling"),
        ("<lyco:y>ohwx_char in ((a red (hat:1.1):0.9))", "ohwx_char in (a red hat)"),
    ],
)
def test_weights_and_tags_are_left_away_and_named(given: str, expected: str) -> None:
    assert made(given) == (expected, ["prompt_syntax"])
    assert "left away" in training_caption(given, CHARACTER, 512).doubts[0].message


@pytest.mark.parametrize("spelling", ["OHWX_CHAR", "ohwx char", "Ohwx-Char", "ohwxchar"])
def test_the_trigger_is_learned_in_one_spelling(spelling: str) -> None:
    assert made(f"{spelling} person standing, {spelling} again") == (
        "ohwx_char person standing, ohwx_char again",
        ["trigger_spelling"],
    )
    assert made("ohwx_chart and other words")[1] == []


def test_a_caption_that_is_longer_than_what_is_read_is_said_with_numbers() -> None:
    found = training_caption("ohwx_char " + "word " * 3000, CHARACTER, 512)
    assert found.doubts[0].message.startswith("Its caption is about 3003 tokens long; 512 are read")
    assert found.text.startswith("ohwx_char word") and made("word " * 3000, None)[1] == []


def test_a_trigger_beyond_what_is_read_is_put_in_front() -> None:
    text, codes = made("word " * 3000 + "ohwx_char")
    assert text.startswith("photo of ohwx_char person, word") and codes == ["long_caption"]
    assert "put in front" in training_caption("word " * 3000 + "ohwx_char", CHARACTER, 512).doubts[0].message


def test_every_chinese_character_counts() -> None:
    assert about_tokens("白い帽子") == 4 and about_tokens("a red hat") == 3 and about_tokens("1girl, solo") >= 4
