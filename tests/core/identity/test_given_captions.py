"""Captions as other tools write them become training captions, and what was changed is said."""

import time

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
        ("{trigger} sitting, <name>", "ohwx_char sitting, ohwx_char"),
        ("photo of [V] person", "photo of ohwx_char person"),
        ("<s0><s1> person", "ohwx_char person"),
        (r"ohwx_char \(cosplay\), smiling", "ohwx_char (cosplay), smiling"),
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
        ("ohwx_char ((smiling)), [a frown], {laughing}", "ohwx_char smiling, a frown, laughing"),
        ("ohwx_char BREAK sitting ||| hat", "ohwx_char, sitting, hat"),
        ("ohwx_char smiling++, (a hat)1.2", "ohwx_char smiling, a hat"),
        ("embedding:easyneg, ohwx_char, [filewords]", "ohwx_char"),
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


@pytest.mark.parametrize("choice", ["{red|blue}", "[red|blue]", "[red:blue:0.5]", "__colour__"])
def test_a_choice_is_pointed_out_and_left_to_the_person(choice: str) -> None:
    assert made(f"ohwx_char in a {choice} hat") == (f"ohwx_char in a {choice} hat", ["prompt_choice"])


@pytest.mark.parametrize(
    "text", ["[" * 20_000, "{" * 20_000, "{" + "|" * 20_000, "(" * 20_000, "<s1>" * 5_000, "_" * 20_000]
)
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    made(text)
    assert time.process_time() - began < 2
