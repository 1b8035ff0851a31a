"""Triplets (source, edit prompt, target): what reviews teach the editor."""

from typing import Literal

from flenwheel_core.domain.base import Document
from flenwheel_core.ids import Digest


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


class TripletSet(Document):
    """A versioned set of triplets, in a fixed order."""

    triplets: tuple[Triplet, ...]
