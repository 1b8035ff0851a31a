"""A line of the doctor's report."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    ok: bool
    text: str
    repair: Callable[[], None] | None = None
