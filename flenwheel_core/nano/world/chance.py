"""Chance that is a function of seeds, never of a global state."""

import random

from flenwheel_core.base.ids import derive_seed


def chance_of(seed: int, *parts: str | int) -> random.Random:
    """A generator that depends on `(seed, *parts)` only."""
    return random.Random(derive_seed(seed, *parts))  # noqa: S311
