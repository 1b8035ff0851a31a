"""Text as editors of all kinds write it: the same words come out, and what is no text is said so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flenwheel_core.base.plain_text import cut_to_bytes, decode_text, lines_of, one_line

SAID = "the dog’s café, 2 lines\r\nand more"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_the_same_words_in_every_encoding(encoding: str) -> None:
    marked = SAID if encoding not in ("utf-16-le", "utf-16-be") else f"\ufeff{SAID}"
    found = decode_text(marked.encode(encoding))
    assert found.text == SAID
    assert bool(found.note) == (encoding == "cp1252")


def test_utf16_without_a_mark_is_told_by_its_zeros() -> None:
    assert decode_text("turn left, please".encode("utf-16-le")).text == "turn left, please"
    assert decode_text("turn left, please".encode("utf-16-be")).text == "turn left, please"


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", b"\xff\xfe\xfd", "白い帽子の犬".encode("shift_jis")]
)
def test_what_is_no_text_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"no text|but is none|cannot be told"):
        decode_text(data)


def test_one_line_has_no_separators_and_no_marks() -> None:
    assert one_line("\ufeff a red hat\u2028smi\x00ling\x85 \r\n at\u00a0night ") == "a red hat smiling at night"
    assert one_line("half \ud83d a character") == "half ? a character"


def test_a_cut_falls_between_characters() -> None:
    assert cut_to_bytes("白い帽子", 7) == "白い" and cut_to_bytes("abc", 7) == "abc"


def test_json_lines_are_cut_at_line_ends_only() -> None:
    assert lines_of('{"a": "one\u2028two"}\r\n{"b": "\x85"}\n') == ['{"a": "one\u2028two"}', '{"b": "\x85"}', ""]


@given(st.binary(max_size=300))
def test_any_bytes_are_text_or_refused(data: bytes) -> None:
    try:
        found = decode_text(data)
    except ValueError:
        return
    assert "\0" not in found.text
    assert found.text.encode("utf-8").decode("utf-8") == found.text


@given(st.text(max_size=80), st.integers(0, 40))
def test_any_cut_is_a_beginning(text: str, most: int) -> None:
    cut = cut_to_bytes(text, most)
    assert text.startswith(cut) and len(cut.encode()) <= most
