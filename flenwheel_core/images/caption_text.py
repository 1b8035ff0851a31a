"""What of a text in a caption's place is one: captioners also leave refusals, quotes and JSON there, and downloads web pages."""

import html
import json
import re
from dataclasses import dataclass

from flenwheel_core.base.plain_text import one_line
from flenwheel_core.images.caption_tables import caption_of

_REFUSAL = re.compile(
    r"(?:i['\u2019]m sorry|i am sorry|sorry,? (?:but )?i|i(?:['\u2019]m| am) (?:unable|not able) to|as an ai"
    r"|i can(?:['\u2019]t|not| not) (?:help|assist|describe|identify|provide))\b",
    re.IGNORECASE,
)
"""How a captioner says that it describes nothing."""
_PAGE = re.compile(r"<!doctype html|<html[\s>]|<\?xml\b", re.IGNORECASE)
_RICH_TEXT = r"{\rtf"
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8}\d{0,2});", re.IGNORECASE)
_LEAD = re.compile(
    r"(?:(?:sure|certainly|of course)[,!.]? )?"
    r"here(?:['\u2019]s| is) (?:the|a|your) (?:\w+ ){0,2}(?:caption|description|prompt)\b[^:]{0,40}:"
    r"|\**(?:caption|description|prompt)\s*:\**",
    re.IGNORECASE,
)
"""What language models put before the caption they were asked for."""
_NONE = "no caption was found in it"
_QUOTES = (('"', '"'), ("“", "”"), ("«", "»"))


@dataclass(frozen=True)
class CaptionText:
    """A caption in one line; None where there is none, and why, if somebody meant one."""

    text: str | None
    why: str = ""


def caption_in(text: str, *, only_json: bool = False) -> CaptionText:
    """The caption in the text of a file beside a picture, or in a cell of a table. `only_json`: by its name it is no other text."""
    whole = text.strip()
    if whole.startswith(_RICH_TEXT):
        return CaptionText(None, "it is rich text; save it as plain text")
    if _PAGE.match(whole):
        return CaptionText(None, "it is a web page or XML, no caption")
    row = _object(whole) if whole.startswith("{") else None
    if row is not None or only_json:
        found = caption_of(row or {})
        return CaptionText(found, _NONE if whole and not found else "")
    words = _ENTITY.sub(lambda found: html.unescape(found.group()), one_line(text))
    words = _unquoted(words[lead.end() :].strip() if (lead := _LEAD.match(words)) else words)
    if _REFUSAL.match(words):
        return CaptionText(None, "a captioner refused to describe the picture")
    if not any(character.isalnum() for character in words):
        return CaptionText(None, _NONE if whole else "")
    return CaptionText(one_line(words))


def _unquoted(words: str) -> str:
    """Without a pair of quotes around all of it."""
    for first, last in _QUOTES:
        inner = words[1:-1]
        if len(words) > 1 and words[0] == first and words[-1] == last and first not in inner and last not in inner:
            return inner.strip()
    return words


def _object(text: str) -> dict[str, object] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
