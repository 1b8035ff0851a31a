"""Captions in both directions: a view into words, and words into what the picture must show.

A caption is `photo of SUBJECT, expression, angle view, background, lighting[, wearing ...][, style]`; bodies say
`full body photo of SUBJECT, pose, ...`. SUBJECT is `a person`, `a person with ATTRIBUTES`, `NAME` or `NAME person`; in world 2 it may be
`SUBJECT next to SUBJECT`, the first one on the left.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, fields

from flenwheel_core.nano.world.characters import BEARDS, HAIRS, Character, make_character
from flenwheel_core.nano.world.extras import MARKS, NO_EXTRAS, PATTERNS, WORN
from flenwheel_core.nano.world.phrases import article, clause, read_clause
from flenwheel_core.nano.world.views import VARIED, View

# fmt: off
SYLLABLES = (
    "ka", "zo", "vi", "lu", "mer", "tik", "sk", "bri", "no", "qua", "fen", "yra", "do", "jil", "pa", "wex",
    "gor", "chu", "el", "th", "ax", "oh", "wx", "ul", "mi", "dra", "ze", "po", "ri", "sno", "ber",
)
# fmt: on
"""What rare names are made of. `ohwx` never occurs, though its halves do: a trigger must be new, not strange."""

CLASS_WORD = "person"
DESCRIBED_SHARE = 0.76
EMPTY_SHARE = 0.05
MOST_PHRASES = 8
"""Of a description in world 2: the text encoders of FLUX read 64 tokens."""
COMPANION_PHRASES = 3


def rare_name(character: Character) -> str:
    """The character's own name: no other training character has it, and nobody is called `ohwx_char`.

    Training characters get three syllables, held-out ones four. About two of three end in `_char`.
    """
    count = len(SYLLABLES)
    length = 3 if character.seed < count**3 else 4
    # Multiplying by a number without a common factor shuffles the names without making two of them equal.
    rest = (character.seed * 14_983 + 77) % count**length
    parts = []
    for _ in range(length):
        rest, digit = divmod(rest, count)
        parts.append(SYLLABLES[digit])
    word = "".join(parts).replace("ohwx", "ohuwx")
    return word + ("_char" if character.seed % 3 else "")


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a description says about a character; None where it says nothing. `glasses` and `beard` can be `none`."""

    skin: str | None = None
    face: str | None = None
    hair: str | None = None
    hair_colour: str | None = None
    eyes: str | None = None
    brows: str | None = None
    glasses: str | None = None
    beard: str | None = None
    freckles: bool | None = None
    scar: bool | None = None
    earrings: bool | None = None
    clothing: str | None = None
    left_mark: str | None = None
    right_mark: str | None = None
    pattern: str | None = None
    worn: str | None = None

    def said(self) -> dict[str, str | bool]:
        """The attributes that are said, by name."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a picture must show to follow its caption; None where the caption leaves it open."""

    pose: str | None = None
    expression: str | None = None
    angle: str | None = None
    background: str | None = None
    lighting: str | None = None
    clothing: str | None = None
    style: str | None = None
    name: str | None = None
    attributes: Attributes = Attributes()
    companion: Attributes | None = None
    """Of somebody else beside the character; None if nobody is."""


def attributes_of(character: Character) -> Attributes:
    """All that a full description would say; traits that are not there are False or `none`."""
    return Attributes(
        skin=character.skin,
        face=character.face,
        hair=character.hair,
        hair_colour=None if character.hair == "bald" else character.hair_colour,
        eyes=character.eyes,
        brows=character.brows,
        glasses=character.glasses,
        beard=character.beard,
        freckles=character.freckles,
        scar=character.scar != "none",
        earrings=character.earrings,
        clothing=character.clothing,
        **extra_attributes(character),
    )


def extra_attributes(character: Character) -> dict[str, str]:
    """Marks by side, pattern, and what is worn with its colour; `none` where there is nothing, and nothing at all in world 1."""
    extras = character.extras
    if extras == NO_EXTRAS:
        return {}
    marks = {f"{mark.side}_mark": mark.kind for mark in reversed(extras.marks)}
    worn = "none" if extras.worn == "none" else f"{extras.worn_colour} {extras.worn}"
    return {"left_mark": "none", "right_mark": "none", **marks, "pattern": extras.pattern, "worn": worn}


def _extra_phrases(character: Character, clothing: bool, keep: Callable[[float], bool]) -> list[str]:
    """Marks, what is worn, and the pattern of the own clothes."""
    extras = character.extras
    parts = [article(mark.said) for mark in extras.marks if keep(0.8)]
    if extras.worn != "none" and keep(0.75):
        words = f"{extras.worn_colour} {extras.worn}"
        parts.append(words if extras.worn == "headphones" else article(words))
    if extras.pattern != "none" and clothing and keep(0.7):
        parts.append(article(f"{extras.pattern} {'badge' if extras.pattern in ('star', 'heart') else 'pattern'}"))
    return parts


def description(character: Character, *, clothing: bool = True, rng: random.Random | None = None) -> tuple[str, ...]:
    """The character in phrases; with `rng` some are left out and the rest shuffled."""

    def keep(share: float) -> bool:
        return rng is None or rng.random() < share

    parts = []
    if character.hair == "bald":
        if keep(0.75):
            parts.append("a bald head")
    else:
        style, colour = keep(0.75), keep(0.75)
        if style or colour:
            words = ([character.hair] if style else []) + ([character.hair_colour] if colour else []) + ["hair"]
            parts.append(" ".join(words))
    if keep(0.75):
        parts.append(f"{character.skin} skin")
    if keep(0.5):
        parts.append(f"{article(character.face)} face")
    if keep(0.55):
        parts.append(f"{character.eyes} eyes")
    if keep(0.4):
        parts.append(f"{character.brows} brows")
    if character.glasses != "none" and keep(0.85):
        parts.append(f"{character.glasses} glasses")
    if character.beard != "none" and keep(0.85):
        parts.append(character.beard if character.beard == "stubble" else f"a {character.beard}")
    if character.freckles and keep(0.85):
        parts.append("freckles")
    if character.scar != "none" and keep(0.85):
        parts.append("a scar")
    if character.earrings and keep(0.7):
        parts.append("earrings")
    if clothing and keep(0.8):
        parts.append(article(character.clothing))
    if character.extras == NO_EXTRAS:
        if rng is not None:
            rng.shuffle(parts)
        return tuple(parts)
    extra = _extra_phrases(character, clothing, keep)
    if rng is None:
        # What tells two alike apart is said first, what is least seen is left out.
        kept = [part for part in parts if not part.endswith((" brows", " face"))]
        return (*extra, *kept)[:MOST_PHRASES]
    parts += extra
    rng.shuffle(parts)
    return tuple(parts[:MOST_PHRASES])


def view_clauses(view: View, *, rng: random.Random | None = None) -> tuple[str, ...]:
    """What the view adds to the subject; with `rng` a clause is sometimes left out.

    Clothing and style are always said when they are not the usual ones: else `a person` would learn them.
    """
    parts = []
    for field in VARIED:
        value = getattr(view, field)
        if value is None or (field, value) in (("pose", "portrait"), ("style", "photo")):
            continue
        always = rng is None or field in ("clothing", "style")
        if always or (rng is not None and rng.random() < 0.93):
            parts.append(clause(field, value))
    return tuple(parts)


def caption(
    character: Character,
    view: View,
    *,
    name: str | None = None,
    describe: bool = True,
    rng: random.Random | None = None,
) -> str:
    """The picture in words: full and always the same, or with `rng` in one of the forms that training uses.

    `name` calls the character so, such as `ohwx_char person`. Without `rng`, `describe` adds the description
    to a person without a name. With `rng` the description has gaps; without a `name` it is at times left out, and at times
    there is no caption at all.
    """
    own_clothing = view.clothing is None
    if rng is None:
        parts = description(character, clothing=own_clothing) if describe and name is None else ()
        parts = parts[: _room(view)]
        return _joined(_subject(name, parts) + _beside(view, None), view, view_clauses(view))
    if rng.random() < EMPTY_SHARE:
        return ""
    parts = description(character, clothing=own_clothing, rng=rng)
    if name is None:
        parts = parts if rng.random() < DESCRIBED_SHARE else ()
    elif not describe:
        parts = ()
    parts = parts[: _room(view)]
    return _joined(_subject(name, parts) + _beside(view, rng), view, view_clauses(view, rng=rng))


def _room(view: View) -> int | None:
    """How many phrases a description may have: fewer where a companion has to be described too; None is any number."""
    return None if view.companion is None else MOST_PHRASES - COMPANION_PHRASES


def _beside(view: View, rng: random.Random | None) -> str:
    """The companion of a portrait in words: a few phrases, or with `rng` at times none."""
    if view.companion is None or view.pose != "portrait":
        return ""
    other = make_character(view.companion, 2)
    if rng is not None and rng.random() < 0.2:
        return f" next to a {CLASS_WORD}"
    parts = description(other, rng=rng)[:COMPANION_PHRASES]
    return f" next to {_subject(None, parts)}"


def _subject(name: str | None, parts: tuple[str, ...]) -> str:
    noun = name or f"a {CLASS_WORD}"
    return f"{noun} with {' and '.join(parts)}" if parts else noun


def _joined(subject: str, view: View, clauses: tuple[str, ...]) -> str:
    shot = "photo of" if view.pose == "portrait" else "full body photo of"
    return ", ".join((f"{shot} {subject}", *clauses))


_SUBJECT = re.compile(r"^(?:a |the )?(?P<body>full[- ]body )?(?:photo|picture|portrait) of (?P<subject>.+)$")


def parse_caption(text: str) -> Expectation:
    """What the picture of a caption must show; words that are not of this grammar are passed over."""
    found: dict[str, str] = {}
    name: str | None = None
    attributes = Attributes()
    companion: Attributes | None = None
    for part in re.sub(r"\s+", " ", text.lower()).split(","):
        fact = read_clause(part)
        match = _SUBJECT.match(part.strip(" ."))
        if fact is not None:
            found.setdefault(*fact)
        elif match is not None:
            if not match["body"]:
                found.setdefault("pose", "portrait")
            found.setdefault("style", "photo") if "style" not in text else None
            subject, _, beside = match["subject"].partition(" next to ")
            if beside:
                companion = read_attributes(beside.partition(" with ")[2])
            noun, _, rest = subject.partition(" with ")
            name = None if noun in (CLASS_WORD, f"a {CLASS_WORD}") else noun.removesuffix(f" {CLASS_WORD}")
            attributes = read_attributes(rest)
    return Expectation(**found, name=name, attributes=attributes, companion=companion)


def read_attributes(description: str) -> Attributes:
    """A description such as `short red hair and fair skin`, read back; parts joined by `and`."""
    found: dict[str, str | bool] = {}
    for part in filter(None, (piece.strip(" .") for piece in description.lower().split(" and "))):
        words = re.sub(r"^an? ", "", part)
        head, _, last = words.rpartition(" ")
        if words == "bald head":
            found["hair"] = "bald"
        elif last == "hair":
            style = next((hair for hair in HAIRS if head == hair or head.startswith(f"{hair} ")), None)
            if style is not None:
                found["hair"] = style
            if colour := head.removeprefix(style or "").strip():
                found["hair_colour"] = colour
        elif last in ("skin", "face", "eyes", "brows", "glasses") and head:
            found[last] = head
        elif words in BEARDS:
            found["beard"] = words
        elif words in ("freckles", "scar", "earrings"):
            found[words] = True
        elif head in ("left", "right") and last in MARKS:
            found[f"{head}_mark"] = last
        elif last in ("pattern", "badge") and head in PATTERNS:
            found["pattern"] = head
        elif last in WORN and head:
            found["worn"] = words
        elif words:
            found["clothing"] = words
    return Attributes(**found)  # type: ignore[arg-type]
