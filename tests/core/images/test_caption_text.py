"""What stands in a caption's place and is none, and what is put around captions."""

import pytest

from flenwheel_core.images.caption_text import caption_in


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        ("smiling, a hat", "smiling, a hat"),
        ('{"caption": "smiling"}', "smiling"),
        ("{red} hat", "{red} hat"),
        ('"a person smiling"', "a person smiling"),
        ('"one", "two"', '"one", "two"'),
        ("\u201ca hat\u201d", "a hat"),
        ("AT&amp;T &#039;hat&#x27; &copy 3", "AT&T 'hat' &copy 3"),
        ("Here is the caption:\n\nA photo of a woman", "A photo of a woman"),
        ("Sure! Here's a detailed description of the image: a woman", "a woman"),
        ("**Caption:** A woman", "A woman"),
        ("here is a woman", "here is a woman"),
        ("sorry sight, a dog in the rain", "sorry sight, a dog in the rain"),
    ],
)
def test_captions_are_what_is_inside(text: str, caption: str) -> None:
    assert caption_in(text).text == caption


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("I'm sorry, but I can't describe people in images.", "refused"),
        ("As an AI language model, I cannot see", "refused"),
        ("I cannot identify this person.", "refused"),
        (r"{\rtf1\ansi smiling}", "rich text"),
        ("<!DOCTYPE html><html><body>Not found</body></html>", "web page"),
        ('<?xml version="1.0"?><x/>', "web page or XML"),
        (",,, ,", "no caption was found"),
        ('{"width": 3}', "no caption was found"),
    ],
)
def test_what_is_no_caption_is_said(text: str, why: str) -> None:
    found = caption_in(text)
    assert found.text is None and why in found.why


def test_nothing_is_nothing_to_speak_of() -> None:
    assert caption_in(" \n").why == "" and caption_in("", only_json=True).why == ""


def test_a_file_of_json_holds_no_other_text() -> None:
    assert caption_in("smiling", only_json=True).text is None
