"""What the rules of promotion have in common: every part must hold, and says in words what it found."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from flenwheel_core.documents.scores import Comparison


class Part(NamedTuple):
    """One part of a rule: whether it lets the challenger pass, and why."""

    holds: bool
    said: str


def promotes(parts: Sequence[Part]) -> bool:
    """True if no part keeps the challenger back."""
    return all(part.holds for part in parts)


def reasons(parts: Sequence[Part]) -> tuple[str, ...]:
    """What the parts say, in their order."""
    return tuple(part.said for part in parts)


def winner(comparison: Comparison | None, *, first_turn: bool) -> Literal["challenger", "champion"] | None:
    """Who is promoted after a comparison; None if the present champion just stays.

    The challenger, if it won or had nobody to be compared with. In the first turn one of the two becomes champion in any case:
    without one there is nothing to draw with, and the next turn would begin from the bare base model again.
    """
    if comparison is None or comparison.promote:
        return "challenger"
    return "champion" if first_turn else None
