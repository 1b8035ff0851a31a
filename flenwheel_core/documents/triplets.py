"""Triplets (source, edit prompt, target): what reviews teach the editor."""

from typing import Literal

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.images import Labels, is_empty


class Triplet(Document):
    """One lesson for the editor: with this prompt, this source should have become this target."""

    source: Digest
    prompt: str
    target: Digest
    kind: Literal["approved", "corrected"]
    rejected: Digest | None = None
    """What the editor made instead, if a person corrected it."""
    character: str
    turn: int
    gate: str
    author: str
    labels: Labels = Labels()
    """What the target must show, as far as the plan said."""
    references: tuple[Digest, ...] = Field(default=(), exclude_if=is_empty)
    """Further pictures that the editor was given, after the source."""


class TripletSet(Document):
    """A versioned set of triplets, in a fixed order."""

    triplets: tuple[Triplet, ...]


TripletProblemCode = Literal[
    "no_prompt",
    "missing_picture",
    "other_shape",
    "too_small",
    "unchanged",
    "duplicate",
    "answer_given",
    "shifted",
    "zoomed",
]


class TripletProblem(Document):
    """What a check found, with the figure and its limit."""

    code: TripletProblemCode
    value: float | None = None
    limit: float | None = None
    detail: str = ""


class TripletCheck(Document):
    """What the checks say of one triplet: `fail` is left out, `unsure` waits for a person's look."""

    target: Digest
    outcome: Literal["pass", "unsure", "fail"]
    problems: tuple[TripletProblem, ...] = ()
