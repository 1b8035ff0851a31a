"""What a person decided: single decisions (journal lines) and the frozen set that a gate leaves behind."""

from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.images import is_empty


class Verdict(StrEnum):
    """What becomes of a picture."""

    GOOD = "good"
    NEEDS_CORRECTION = "needs_correction"
    REJECT = "reject"


REASONS: dict[str, str] = {
    "identity": "not the character",
    "anatomy": "broken anatomy",
    "expression": "wrong expression",
    "angle": "wrong angle or pose",
    "background": "background wrong or damaged",
    "artifacts": "artifacts, smears, text",
    "style": "wrong style, light or colours",
    "duplicate": "too like another picture",
    "other": "another reason",
}
"""Reasons for a verdict; keys 1-9 of the studio in this order."""


class Decision(Document):
    """One line of a review journal. Nothing is edited in place: an undo is another line."""

    id: str = Field(description="unique; made by the client, so that a repeated request is one decision")
    at: AwareDatetime
    author: str
    image: Digest
    verdict: Verdict | None = Field(description="None takes a verdict back")
    reasons: tuple[str, ...] = ()
    note: str = ""
    caption: str | None = Field(default=None, description="a caption the reviewer wrote")
    correction: Digest | None = Field(default=None, description="the corrected picture")
    better_prompt: str | None = Field(default=None, description="an edit prompt to try instead")
    undo_of: str | None = Field(default=None, description="id of the decision this line takes back")
    batch: str | None = Field(default=None, description="lines of one bulk decision share it and are undone as one")
    by_rule: bool = Field(
        default=False,
        exclude_if=is_empty,
        description="a threshold decided about many at once: nobody looked at this one",
    )
    over: tuple[str, ...] = Field(
        default=(), description="ids of decisions, of others too, that the author saw and replaces: settles a conflict"
    )


class FinalDecision(Document):
    """What was decided about one picture when its gate closed."""

    image: Digest
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    caption: str | None = None
    correction: Digest | None = None
    better_prompt: str | None = None
    author: str
    by_policy: bool = Field(
        default=False, description="nobody looked: the gate's policy for undecided pictures decided"
    )

    @property
    def usable(self) -> Digest | None:
        """The picture that may be trained on: a good one itself, the corrected one in place of one that needs correction; else None.

        The one rule for pools, lessons, minimums and counts. A correction beside any other verdict counts for nothing.
        """
        if self.verdict is Verdict.GOOD:
            return self.image
        return self.correction if self.verdict is Verdict.NEEDS_CORRECTION else None

    @property
    def corrected(self) -> bool:
        """True if a corrected picture takes the place of this one."""
        return self.usable not in (None, self.image)

    @property
    def again_with(self) -> str | None:
        """The better prompt that the picture is made again with, unless it was corrected already."""
        wanted = self.verdict is Verdict.NEEDS_CORRECTION and self.usable is None
        return self.better_prompt or None if wanted else None


class DecisionSet(Document):
    """All decisions of one closed gate, in the order of the gate's pictures."""

    gate: str
    decisions: tuple[FinalDecision, ...]

    def images(self, verdict: Verdict) -> tuple[Digest, ...]:
        """The pictures with this verdict."""
        return tuple(decision.image for decision in self.decisions if decision.verdict is verdict)


GateVerdict = Literal["approve", "redo", "stop"]
UndecidedPolicy = Literal["leave_out", "take_passed"]


class LateAnswer(Document):
    """An answer that reached a gate which was answered already. It did not count, and is shown."""

    at: AwareDatetime
    verdict: GateVerdict
    reviewer: str


class ClosedGate(Document):
    """The small outcome of a gate that the flow goes on with."""

    gate: str
    verdict: GateVerdict
    decisions: Digest = Field(description="digest of the DecisionSet")
    good: int
    needs_correction: int
    reject: int
    undecided: int
    enough: bool = Field(description="the minimum is reached, or a person overrode it")
    reviewer: str = ""
