"""What the stages of a recipe would do with a card: asked of the families, from sizes on the disk alone. Nothing is loaded."""

from collections.abc import Callable
from dataclasses import dataclass

from flenwheel_core.base.errors import RecipeError, ResourceError

UNPLANNED = "through diffusers' own modules; not planned ahead"


@dataclass(frozen=True)
class CardRoom:
    """What a process may take of a card."""

    usable_gib: float
    multiplies_fp8: bool
    """Cards of the Ada generation and later do."""


@dataclass(frozen=True)
class StagePlan:
    """What one stage would do."""

    stage: str
    text: str
    """The plan, or why there is none, for people."""
    predicted_gib: float | None
    """The peak; None if it does not fit."""


def planned(stage: str, plan: Callable[[], tuple[str, float]]) -> StagePlan:
    """The plan that `plan` gives as text and peak, or the reason why there is none: it does not fit, or the family has no such storage."""
    try:
        return StagePlan(stage, *plan())
    except ResourceError as error:
        return StagePlan(stage, f"does not fit: {error.what} {error.remedy}", None)
    except RecipeError as error:
        return StagePlan(stage, f"{error.what} {error.remedy}", None)
