"""Labels into words: prompts and captions from a recipe's templates and phrases."""

import re
from collections.abc import Mapping

from flenwheel_core.base.errors import InputError, RecipeError
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Labels

LABEL_ORDER = ("pose", "expression", "angle", "background", "lighting", "clothing", "style")


def phrase(field: str, value: str, phrases: Mapping[str, str]) -> str:
    """The words for one label: its own phrase, its kind's pattern, or the label itself."""
    if value in phrases:
        return phrases[value]
    return phrases.get(field, "{}").replace("{}", value)


def shown(labels: Labels, phrases: Mapping[str, str]) -> str:
    """What a picture shows, comma-joined; a portrait needs no word for its pose."""
    parts = []
    for field in LABEL_ORDER:
        value = getattr(labels, field)
        if value is not None and not (field == "pose" and value == "portrait"):
            parts.append(phrase(field, value, phrases))
    return ", ".join(part for part in parts if part)


def fill(template: str, labels: Labels, phrases: Mapping[str, str], character: CharacterRef | None = None) -> str:
    """The template with its fields filled in. A field whose label is unknown is left out, with its comma."""
    body = labels.pose not in (None, "portrait")
    fields = {
        "shown": shown(labels, phrases),
        "shot": phrases.get("shot-body" if body else "shot-portrait", "full body photo of" if body else "photo of"),
    }
    if character is not None:
        fields |= {"trigger": character.trigger, "class_word": character.class_word}
    for field in LABEL_ORDER:
        value = getattr(labels, field)
        fields[field] = "" if value is None else phrase(field, value, phrases)

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in fields:
            known = ", ".join(f"{{{field}}}" for field in sorted(fields))
            raise RecipeError(
                f"The template {template!r} has an unknown field {{{name}}}.", remedy=f"Use one of {known}."
            )
        return fields[name]

    text = re.sub(r"\{(\w+)\}", replace, template)
    text = re.sub(r"\s*,(\s*,)+", ",", text)
    return re.sub(r"\s+", " ", text).strip(" ,")


def mention(text: str, words: str) -> tuple[int, int] | None:
    """Where a text first says these words, from character to character; None if it does not. Whole words: a woman is no man."""
    asked = words.strip()
    if not asked:
        return None
    before, after = (r"(?<!\w)" if asked[0].isalnum() else "", r"(?!\w)" if asked[-1].isalnum() else "")
    found = re.search(before + re.escape(asked) + after, text, re.IGNORECASE)
    return None if found is None else found.span()


def require_mention(
    text: str, words: str, *, remedy: str = "Name words of the prompt with --words."
) -> tuple[int, int]:
    """As `mention`; raises InputError for a prompt that does not say the words that a residual belongs to."""
    found = mention(text, words)
    if found is None:
        raise InputError(
            f"The prompt {text!r} does not say {words!r}.",
            why="the residual is added where these words stand.",
            remedy=remedy,
        )
    return found


def template_fields(template: str) -> tuple[str, ...]:
    """The label fields a template sets, in label order."""
    named = set(re.findall(r"\{(\w+)\}", template))
    return tuple(field for field in LABEL_ORDER if field in named)
