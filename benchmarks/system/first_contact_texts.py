"""What happens to texts on their way: encodings, cuts, damage. For the parts of `first_contact` that are made of text."""

from collections.abc import Callable

import numpy as np

Random = np.random.Generator
ENCODINGS = (
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "cp1252",
    "latin-1",
    "shift-jis",
    "gb18030",
)
MARKS = (
    "\0",
    "\r",
    "\n",
    "\u2028",
    "\x85",
    "\ufeff",
    "\x1b[31m",
    "\u202e",
    '"',
    "\\",
    "{",
    "]",
    ",",
    "\t",
    "#",
    "=",
    "'",
    "\ud83d",
)
DEPTHS = (50, 2000, 100_000)


def encoded(random: Random, text: str) -> bytes:
    return text.encode(str(random.choice(ENCODINGS)), "replace")


def truncated(random: Random, text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return data[: int(random.integers(0, max(1, len(data))))]


def bits_flipped(random: Random, text: str) -> bytes:
    data = bytearray(text.encode("utf-8", "replace"))
    for place in random.integers(0, max(1, len(data)), size=int(random.integers(1, 8))):
        if data:
            data[place] ^= 1 << int(random.integers(0, 8))
    return bytes(data)


def marks_inserted(random: Random, text: str) -> bytes:
    for _ in range(int(random.integers(1, 5))):
        place = int(random.integers(0, len(text) + 1))
        text = text[:place] + MARKS[int(random.integers(0, len(MARKS)))] + text[place:]
    return text.encode("utf-8", "surrogatepass")


def letters_lost(random: Random, text: str) -> bytes:
    for _ in range(int(random.integers(1, 6))):
        place = int(random.integers(0, max(1, len(text))))
        text = text[:place] + text[place + 1 :]
    return text.encode("utf-8", "replace")


def lines_mixed(random: Random, text: str) -> bytes:
    """Lines in another order, some twice; other line ends."""
    lines = text.split("\n")
    chosen = [lines[int(place)] for place in random.integers(0, len(lines), size=len(lines) + 2)]
    return str(random.choice(["\n", "\r\n", "\r", "\n\n", "\x85"])).join(chosen).encode("utf-8", "replace")


def nested(random: Random, text: str) -> bytes:
    depth = int(random.choice(DEPTHS))
    bracket = str(random.choice(["[", "{", '{"a":', "[["]))
    place = int(random.integers(0, len(text) + 1))
    return (text[:place] + bracket * depth + text[place:]).encode("utf-8", "replace")


def long(random: Random, text: str) -> bytes:
    """A piece of it very often."""
    start, end = sorted(int(place) for place in random.integers(0, len(text) + 1, size=2))
    piece = text[start:end] or "x"
    return (text[:end] + piece * (200_000 // len(piece)) + text[end:]).encode("utf-8", "replace")


def no_text(random: Random, text: str) -> bytes:
    kinds = (
        b"",
        b"\0" * 300,
        b"PK\x03\x04" + bytes(90),
        random.bytes(400),
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b" \n\t",
        b"\x89PNG\r\n\x1a\n",
    )
    return kinds[int(random.integers(0, len(kinds)))]


DAMAGE: dict[str, Callable[[Random, str], bytes]] = {
    "encoding": encoded,
    "truncated": truncated,
    "bits flipped": bits_flipped,
    "marks inserted": marks_inserted,
    "letters lost": letters_lost,
    "lines mixed": lines_mixed,
    "nested": nested,
    "long": long,
    "no text": no_text,
}
