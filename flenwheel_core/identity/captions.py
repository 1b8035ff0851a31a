"""Captions of sources: the trigger goes in, labels are read out, permanent traits are pointed out.

What a caption names, the LoRA learns to leave to the words: a caption that says "green eyes" keeps the trigger from learning
them. So captions name what changes (angle, expression, light, clothes) and never what makes the character.
"""

import re

from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Angle, Expression, Labels, Pose

_TRAITS = (
    r"(?:\w+[- ]){0,2}(?:hair|haired|eyes|eyed|eyebrows?|brows|skin|skinned|complexion)",
    r"(?:a |an )?(?:full |short |long |grey |\w+ )?(?:beard|moustache|mustache|goatee|stubble)",
    r"freckles?|dimples?|birthmark|a mole|a scar|scars?|tattoos?",
    r"(?:a |an )?(?:round|oval|square|long|heart-shaped|angular) face",
    r"bald(?: head)?|bangs|ponytail|mohawk|afro|dreadlocks",
    r"\d+[- ]years?[- ]old|middle-aged|elderly",
    r"(?:pointed|floppy|long) ears|(?:brown|black|white|grey|golden|spotted|striped) fur",
)
_TRAIT = re.compile(r"\b(?:" + "|".join(_TRAITS) + r")\b", re.IGNORECASE)

_ANGLE_WORDS: tuple[tuple[str, Angle], ...] = (
    (r"profile[- ]left|left[- ](?:side )?profile|left side view", "profile-left"),
    (r"profile[- ]right|right[- ](?:side )?profile|right side view", "profile-right"),
    (r"half[- ]left|three[- ]quarter (?:view )?(?:from the |facing |to the )?left", "half-left"),
    (r"half[- ]right|three[- ]quarter (?:view )?(?:from the |facing |to the )?right", "half-right"),
    (
        r"front(?:al)?[- ]view|front view|facing (?:the )?(?:camera|viewer)|looking at (?:the )?(?:camera|viewer)",
        "front",
    ),
)
_EXPRESSION_WORDS: tuple[tuple[str, Expression], ...] = (
    (r"smil(?:e|es|ing)|laugh(?:s|ing)|grin(?:s|ning)|happy", "smiling"),
    (r"angry|furious|frown(?:s|ing)|scowl(?:s|ing)", "angry"),
    (r"sad|crying|tearful|unhappy", "sad"),
    (r"neutral|calm expression|serious", "neutral"),
)
_POSE_WORDS: tuple[tuple[str, Pose], ...] = (
    (r"t-pose|t pose", "t-pose"),
    (r"standing", "standing"),
    (r"sitting|seated|sits", "sitting"),
    (r"portrait|headshot|close-?up", "portrait"),
)


def permanent_traits(caption: str) -> tuple[str, ...]:
    """Words of a caption that describe what never changes about the character."""
    return tuple(dict.fromkeys(match.group(0).strip().lower() for match in _TRAIT.finditer(caption)))


def labels_in(caption: str) -> Labels:
    """What a caption says the picture shows; None where it says nothing."""
    return Labels(
        angle=_first(_ANGLE_WORDS, caption),
        expression=_first(_EXPRESSION_WORDS, caption),
        pose=_first(_POSE_WORDS, caption),
        background=_before("background", caption),
        lighting=_before("lighting", caption),
    )


def _first(words: tuple[tuple[str, str], ...], caption: str) -> str | None:
    return next((label for pattern, label in words if re.search(rf"\b(?:{pattern})\b", caption, re.IGNORECASE)), None)


def _before(noun: str, caption: str) -> str | None:
    """The one to three words before `noun`, within one comma-separated part."""
    match = re.search(rf"(?:^|,|\bin\b|\ba\b|\bwith\b)\s*((?:[\w-]+ ){{1,3}}){noun}\b", caption, re.IGNORECASE)
    return match.group(1).strip().lower() if match else None


def merged(first: Labels, second: Labels) -> Labels:
    """`first`, with what it does not know filled in from `second`."""
    known = {key: value for key, value in first.model_dump().items() if value is not None}
    return Labels.model_validate({**second.model_dump(), **known})


def names(caption: str, trigger: str) -> bool:
    """True if a caption has the trigger in it, as a word of its own."""
    return re.search(rf"\b{re.escape(trigger)}\b", caption) is not None


def names_only(caption: str, character: CharacterRef) -> bool:
    """True if a caption names the character, and nothing that never changes about it."""
    return names(caption, character.trigger) and not permanent_traits(caption)


def with_trigger(caption: str, character: CharacterRef) -> str:
    """The caption with trigger and class word in it, each once."""
    if names(caption, character.trigger):
        return caption
    subject = f"{character.trigger} {character.class_word}"
    if character.kind == "style":  # it is what the caption leaves out: it stands behind what is shown
        return f"{caption}, {subject}" if caption else subject
    pattern = rf"\b(?:(?:a|an|the)\s+)?{re.escape(character.class_word)}\b"
    replaced, count = re.subn(pattern, subject, caption, count=1, flags=re.IGNORECASE)
    if count:
        return replaced
    return f"photo of {subject}, {caption}" if caption else f"photo of {subject}"
