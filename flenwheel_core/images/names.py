"""Names of files that strangers chose, for logs, reports and documents."""

import unicodedata
from pathlib import PurePath

NAME_LENGTH = 80
_MARK = "\N{REPLACEMENT CHARACTER}"


def written_name(name: str) -> str:
    """The name in letters that a document can hold: what stands for bytes that are no UTF-8 becomes a replacement mark."""
    return "".join(_MARK if "\ud800" <= character <= "\udfff" else character for character in name)


def same_letters(name: str) -> str:
    """A name to compare with others: without case, and with accents in one spelling, which macOS writes as letters of their own."""
    return unicodedata.normalize("NFC", name).lower()


def printable_name(name: str) -> str:
    """A file name that is safe in one line of a log: last path part, no control characters, at most 80 characters."""
    return _shortened(_printable(PurePath(name.replace("\\", "/")).name or name))


def printable_path(name: str) -> str:
    """Like printable_name, with the folders the file lies in: two files of one name in two folders stay apart."""
    return _shortened(_printable(name))


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in written_name(text))


def _shortened(text: str) -> str:
    return text if len(text) <= NAME_LENGTH else f"{text[: NAME_LENGTH - 10]}...{text[-7:]}"
