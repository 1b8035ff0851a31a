"""Captions for a style: what a painting shows, never how it is painted. What captions leave out is what the trigger learns."""

import re
from collections.abc import Collection

from flenwheel_core.datasets.paintings import UNKNOWN

GENRES = {
    "abstract-painting": "an abstract composition",
    "cityscape": "a view of a city",
    "genre-painting": "a scene of everyday life",
    "illustration": "an illustration of a scene",
    "landscape": "a landscape",
    "marina": "ships and the sea",
    "nude-painting": "a nude",
    "portrait": "a portrait",
    "religious-painting": "a religious scene",
    "self-portrait": "a portrait",
    "sketch-and-study": "a study of a figure",
    "still-life": "a still life",
    "flower-painting": "flowers",
}
"""Content in words for the genres of WikiArt; other genres are said as they are called."""
_MANNER = re.compile(
    r"""\b(?:
      (?:post-?|neo-?)?impressionis(?:m|tic|ts?)|expressionis(?:m|tic|ts?)|pointillis(?:m|tic|ts?)|divisionis(?:m|tic|ts?)|
      fauvis(?:m|tic|ts?)|plein[ -]air|impasto|painterly|brush[ -]?(?:strokes?|work)|broken\ colou?rs?|
      (?:(?:visible|loose|thick|short|broad|quick|soft|bold)\ )+(?:brush[ -]?)?strokes?|
      oils?\ on\ (?:canvas|panel|board|wood)|(?:an?\ )?(?:oil|acrylic|gouache|tempera|watercolou?r)\ (?:painting|sketch)(?:\ of)?|
      (?:an?\ |the\ )?(?:painting|artwork|picture|canvas)\ (?:of|showing|depicting)|painted\ (?:by|in)|in\ the\ (?:style|manner)\ of
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)


def manner_words(text: str) -> tuple[str, ...]:
    """Words of a caption for how a picture is painted."""
    return tuple(dict.fromkeys(match.group(0).strip().lower() for match in _MANNER.finditer(text)))


def content_words(text: str, names: Collection[str] = ()) -> str:
    """The text without words for manner, and without `names` of artists and styles; empty if nothing is left of it."""
    for name in sorted(names, key=len, reverse=True):
        words = r"[\s-]+".join(map(re.escape, re.split(r"[\s-]+", name.strip()))) if name.strip() else ""
        if words and name != UNKNOWN:
            text = re.sub(rf"\b(?:by\s+)?{words}(?:'s)?\b", " ", text, flags=re.IGNORECASE)
    text = _MANNER.sub(" ", text)
    parts = [
        re.sub(r"\b(?:with|in|and|of|by|style)\s*$", "", re.sub(r"\s+", " ", part).strip(" .;:-"))
        for part in text.split(",")
    ]
    return ", ".join(part.strip() for part in parts if part.strip())


def content_caption(given: str | None, genre: str, names: Collection[str]) -> str:
    """What a painting shows: the source's own words, or its genre's."""
    words = content_words(given, names) if given else ""
    return words or GENRES.get(genre, "a scene" if genre == UNKNOWN else f"a {genre.replace('-', ' ')}")
