"""Text that people and other programs wrote: UTF-8 with or without a byte order mark, UTF-16, Windows-1252.

Notepad and PowerShell write a mark or UTF-16, older editors Windows-1252. All of them show as the same words on a screen.
"""

import codecs
from dataclasses import dataclass

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WINDOWS = "cp1252"
_UNSEEN = dict.fromkeys((0xFEFF, *(code for code in (*range(32), *range(127, 160)) if not chr(code).isspace())))
_MOST_FOREIGN = 0.3
"""Text of a western language has fewer accents and curly quotes than this share of its letters."""


@dataclass(frozen=True)
class PlainText:
    """Text without a byte order mark, and what to say after the file's name if its encoding was guessed."""

    text: str
    note: str = ""


def decode_text(data: bytes) -> PlainText:
    """The text in `data`. Raises ValueError, with a sentence, if it is no text in an encoding that can be told."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None) or _unmarked_utf16(data)
    if encoding is not None:
        try:
            text = data.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError:
            raise ValueError(f"it begins like {encoding.upper()} text, but is none; save it as UTF-8") from None
    elif b"\0" in data:
        raise ValueError("it is no text")
    else:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            return PlainText(_windows_text(data), "read as Windows-1252, it is no UTF-8 text.")
    if any(character < " " and not character.isspace() for character in text):
        raise ValueError("it is no text")
    return PlainText(text)


def one_line(text: str) -> str:
    """The words of a text with single spaces between them; marks that nobody sees are gone."""
    return " ".join(writable(text).translate(_UNSEEN).split())


def writable(text: str) -> str:
    """The text without halves of characters, which JSON may hold and no file can."""
    return text.encode("utf-8", "replace").decode("utf-8")


def cut_to_bytes(text: str, most_bytes: int) -> str:
    """The beginning of a text that fits into so many bytes of UTF-8, cut between characters."""
    return text.encode("utf-8", "replace")[:most_bytes].decode("utf-8", "ignore")


def lines_of(text: str) -> list[str]:
    """Lines as files of JSON lines have them: other separators that Unicode knows may stand inside a line."""
    text = text.replace("\r\n", "\n")
    # Without any other line end, a lone carriage return is one: macOS wrote them once, and some programs do.
    return text.split("\n" if "\n" in text else "\r")


def _unmarked_utf16(data: bytes) -> str | None:
    """The byte order of UTF-16 text without a mark: in western text every other byte is zero."""
    if len(data) < 2 or len(data) % 2:
        return None
    half = len(data) / 2
    even, odd = data[0::2].count(0) / half, data[1::2].count(0) / half
    if odd > 0.5 and even < 0.1:
        return "utf-16-le"
    return "utf-16-be" if even > 0.5 and odd < 0.1 else None


def _windows_text(data: bytes) -> str:
    try:
        text = data.decode(_WINDOWS)
    except UnicodeDecodeError:
        raise ValueError("its encoding cannot be told; save it as UTF-8") from None
    letters = [character for character in text if not character.isspace()]
    foreign = sum(character > "\x7f" for character in letters)
    # Chinese, Japanese or Cyrillic text of the time before Unicode decodes to accents, and to nothing else.
    if letters and foreign > max(1, _MOST_FOREIGN * len(letters)):
        raise ValueError("its encoding cannot be told; save it as UTF-8")
    return text
