"""What is tried again after a card ran out of memory: a plan that needs really less, or a clear end."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from flenwheel_core.base.errors import NoTighterPlanError

Plan = TypeVar("Plan")

TIGHTER = 0.95
"""A tighter plan needs at most this share of what the one before it needs."""


def plan_at_level(plans: Iterable[Plan], need_gib: Callable[[Plan], float], level: int) -> Plan | None:
    """`plans` stand best first, and all of them fit. Level 0 takes the first, and each further level
    the next one that needs at most 95 % of the one before.

    None if there is no plan at all. Raises NoTighterPlanError where there is none for this level.
    """
    chosen: Plan | None = None
    reached = -1
    for plan in plans:
        if chosen is None or need_gib(plan) <= TIGHTER * need_gib(chosen):
            chosen, reached = plan, reached + 1
        if reached == level:
            return plan
    if chosen is None:
        return None
    raise NoTighterPlanError(
        "The card ran out of memory, and there is no tighter plan to try.",
        why=f"the tightest one is meant to need {need_gib(chosen):.1f} GiB; something else may hold memory of the card.",
        remedy="Close other programs that use the card (see nvidia-smi), lower the size of the pictures, or take a smaller model.",
    )
