"""Edit instructions with one right answer: `same person, forest background, smiling, half-left view`.

What is not named stays as it is in the source, framing and scenery included.
"""

import random
from dataclasses import dataclass, replace

from flenwheel_core.nano.world.phrases import OWN, clause, read_clause
from flenwheel_core.nano.world.views import VARIED, View

OPENING = "same person"


@dataclass(frozen=True, slots=True)
class Change:
    """What an instruction names; None where the source is kept. Clothing `own` is the character's own again."""

    pose: str | None = None
    expression: str | None = None
    angle: str | None = None
    background: str | None = None
    lighting: str | None = None
    clothing: str | None = None
    style: str | None = None


def change_between(source: View, target: View) -> Change:
    """What differs between two views, as a change."""
    found = {}
    for field in VARIED:
        value = getattr(target, field)
        if value != getattr(source, field):
            found[field] = OWN if value is None else value
    return Change(**found)


def instruction(source: View, target: View, *, rng: random.Random | None = None) -> str:
    """The instruction that turns one view into the other; it names what changes.

    With `rng` the order varies and at times a thing is named that is already so, as people and plans do.
    """
    change = change_between(source, target)
    named = [field for field in VARIED if getattr(change, field) is not None]
    values = {field: getattr(change, field) for field in named}
    if rng is not None:
        for field in ("expression", "angle", "background"):
            if field not in values and rng.random() < 0.3:
                values[field] = getattr(target, field)
        named = [field for field in VARIED if field in values]
        if rng.random() < 0.4:
            rng.shuffle(named)
    return ", ".join((OPENING, *(clause(field, values[field]) for field in named)))


def parse_instruction(text: str) -> Change:
    """What an instruction asks for; words that are not of this grammar are passed over."""
    found: dict[str, str] = {}
    for part in text.split(","):
        fact = read_clause(part)
        if fact is not None:
            found.setdefault(*fact)
    return Change(**found)


def apply_instruction(view: View, change: Change, seed: int | None = None) -> View:
    """The exact right answer to an edit. `seed` gives another framing and scenery; None keeps the source's."""
    values = {field: value for field in VARIED if (value := getattr(change, field)) is not None}
    if values.get("clothing") == OWN:
        values["clothing"] = None
    return replace(view, **values, seed=view.seed if seed is None else seed)
