"""Captions that a person gave, as other tools write them, made into training captions; what had to be changed is said.

Other tools put `[trigger]` or `[name]` where the trigger belongs, weights and LoRA tags are for the interfaces that draw, and a caption
beyond what the text encoder reads teaches nothing.
"""

import re
from dataclasses import dataclass

from flenwheel_core.base.plain_text import one_line
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.identity.captions import with_trigger

_HOLDERS = r"\s*(?:trigger(?:[ _-]?words?)?|name|instance|token)\s*"
_PLACEHOLDER = re.compile(
    rf"\[{_HOLDERS}\]|(?<!\{{)\{{++{_HOLDERS}\}}+|<{_HOLDERS}>|%{_HOLDERS}%|\[V\]|(?:<s\d+>\s*)*<s\d+>", re.IGNORECASE
)
"""Where other tools put the trigger; `[V]` and `<s0><s1>` are those of papers and their scripts."""
_TAG = re.compile(
    r"<(?:lora|lyco|lycoris|hypernet|embedding|segment|clip):[^<>]*>|\bembedding:[\w.-]+|\[filewords\]", re.IGNORECASE
)
_WEIGHT = re.compile(r"\(([^()]+?):\s*\d+(?:\.\d+)?\s*\)|\(([^()]+)\)\s?\d\.\d+")
_EMPHASIS = re.compile(
    r"\(\(([^()]+)\)\)|(?<!\[)\[++([^\[\]|:]+)\]+|(?<!\{)\{++([^{}|]+)\}+|(?<=\w)\+{2,4}(?=[\s,.]|$)()"
)
_BREAK = re.compile(r"\bBREAK\b|\|\|\|")
_ESCAPE = re.compile(r"\\([()\[\]])")
_CHOICE = re.compile(r"\{[^{}|]*\|[^{}]*\}|\[[^\[\]:|]*[:|][^\[\]]*\]|__[\w/*-]+__")
_NO_WORDS = re.compile(r"(?:\s*,)+")
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\d_]+|\d+|[^\w\s]|_")
_LETTERS_A_TOKEN = 6


@dataclass(frozen=True)
class Doubt:
    """What a person should know of a caption."""

    code: str
    message: str


@dataclass(frozen=True)
class TrainingCaption:
    """The caption that is learned, and what is doubtful about the one that was given."""

    text: str
    doubts: tuple[Doubt, ...]


def training_caption(given: str, character: CharacterRef, tokens_read: int | None) -> TrainingCaption:
    """The given caption with the trigger in it once, in its own spelling, where it is read; without the syntax of interfaces."""
    doubts = []
    text = _PLACEHOLDER.sub(character.trigger, one_line(given))
    text, syntax = _without_syntax(text)
    if syntax:
        doubts.append(
            Doubt("prompt_syntax", f"Its caption has weights or tags for interfaces ({', '.join(syntax)}): left away.")
        )
    choices = list(dict.fromkeys(match.group() for match in _CHOICE.finditer(text)))
    if choices:
        doubts.append(
            Doubt(
                "prompt_choice",
                f"Its caption leaves a choice to interfaces ({', '.join(choices)}), learned as it stands: write what the picture shows.",
            )
        )
    text, spellings = _one_spelling(text, character.trigger)
    if spellings:
        message = f"Its caption spells the trigger {', '.join(spellings)}; {character.trigger} is learned."
        doubts.append(Doubt("trigger_spelling", message))
    text = with_trigger(text, character)
    length = about_tokens(text)
    if tokens_read is not None and length > tokens_read:
        before = text[: text.index(character.trigger)]
        message = f"Its caption is about {length} tokens long; {tokens_read} are read, the rest is never learned."
        if about_tokens(before) >= tokens_read:
            text = f"photo of {character.trigger} {character.class_word}, {text}"
            message += " The trigger stood in the rest: it was put in front."
        doubts.append(Doubt("long_caption", message))
    return TrainingCaption(text, tuple(doubts))


def about_tokens(text: str) -> int:
    """How many tokens a text encoder makes of a text, roughly and rather too few: long words are several."""
    return sum(1 + (len(match.group()) - 1) // _LETTERS_A_TOKEN for match in _TOKEN.finditer(text))


def _without_syntax(text: str) -> tuple[str, list[str]]:
    """The words without weights and tags, and what these were."""
    found = [match.group() for match in _TAG.finditer(text)]
    text = _TAG.sub("", text)
    while match := _WEIGHT.search(text):
        found.append(match.group())
        text = text[: match.start()] + (match.group(1) or match.group(2)) + text[match.end() :]
    while match := _EMPHASIS.search(text):
        found.append(match.group())
        text = text[: match.start()] + next((part for part in match.groups() if part), "") + text[match.end() :]
    if _BREAK.search(text):
        found += [match.group() for match in _BREAK.finditer(text)]
        text = re.sub(r"\s+,", ",", _BREAK.sub(",", text))
    text = _ESCAPE.sub(r"\1", text)
    if found:
        text = " ".join(_NO_WORDS.sub(",", text).strip(" ,").split())
    return text, list(dict.fromkeys(found))


def _one_spelling(text: str, trigger: str) -> tuple[str, list[str]]:
    """The text with the trigger spelt as it is learned, and the other spellings that were there."""
    parts = [re.escape(part) for part in trigger.split("_") if part]
    pattern = re.compile(rf"(?<!\w){'[ _-]?'.join(parts)}(?!\w)", re.IGNORECASE)
    others = [match.group() for match in pattern.finditer(text) if match.group() != trigger]
    return (pattern.sub(trigger, text), list(dict.fromkeys(others))) if others else (text, [])
