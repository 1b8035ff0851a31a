"""What a page of measurements is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """A question, its answer in a sentence, and the rows that show it."""

    question: str
    answer: str
    result: str
    columns: Mapping[str, str]
    """Figures of the result file with their headings; a unit stands in each."""
    cases: Mapping[str, str] | Sequence[str] = ()
    """Which rows, in this order, and what people call them; all if empty."""
    picture: str | None = None
    """In docs/images."""
    having: str = ""
    """Only rows that have this figure."""
    intervals: Mapping[str, str] = field(default_factory=dict)
    """Shares that are shown with their 95 % Wilson interval, with the figure that counts of how many; worked out from the file's counts."""


@dataclass(frozen=True)
class Page:
    name: str
    title: str
    claim: str
    claim_from: str
    tables: tuple[Table, ...]
