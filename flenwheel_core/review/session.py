"""A review session: the pictures of one gate, the journal of decisions about them, and how the gate closes.

Nothing here knows of HTTP or Prefect. The current state is a fold over the journal, so undo works after a restart.
"""

from typing import Literal

from pydantic import Field

from flenwheel_core.domain.base import Document
from flenwheel_core.domain.decisions import (
    ClosedGate,
    Decision,
    DecisionSet,
    FinalDecision,
    GateVerdict,
    UndecidedPolicy,
    Verdict,
)
from flenwheel_core.domain.images import ImageRecord
from flenwheel_core.domain.scores import Screening
from flenwheel_core.errors import GateError, InputError, NotFoundError
from flenwheel_core.ids import Digest, Slug
from flenwheel_core.store import Journal, Store

GateKind = Literal["enriched", "synthetic", "triplets"]


class ReviewSession(Document):
    """The pictures of one gate. Written once, when the gate opens."""

    gate: Slug = Field(description="<character>-t<turn>-<gate>-r<round>, such as mira-t1-gate-a-r1")
    kind: GateKind
    character: str
    turn: int
    round: int
    images: Digest = Field(description="image set of the candidates")
    screenings: Digest | None = Field(default=None, description="screening table of the same images")
    references: Digest | None = Field(default=None, description="image set of the real sources")
    minimum: int = Field(description="good pictures the gate asks for")
    flow_run: str | None = Field(default=None, description="the suspended flow run that waits for it")


class Reviews:
    """All review sessions of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def open(self, session: ReviewSession) -> ReviewSession:
        """Opens a gate; opening the same gate again changes nothing and returns what is there."""
        self.store.put_document(f"reviews/{session.gate}/session", session)
        return self.get(session.gate)

    def get(self, gate: str) -> ReviewSession:
        """The session of a gate; raises NotFoundError."""
        found = self.store.get_document(f"reviews/{gate}/session", ReviewSession) if gate else None
        if found is None:
            raise NotFoundError(f"There is no gate {gate!r}.", remedy="`flenwheel status` lists the open gates.")
        return found

    def gates(self) -> list[str]:
        """Names of all gates, open and closed."""
        names = self.store.list_documents("reviews")
        return sorted(name.split("/")[1] for name in names if name.endswith("/session"))

    def images(self, session: ReviewSession) -> tuple[ImageRecord, ...]:
        return self.store.get_images(session.images)

    def screenings(self, session: ReviewSession) -> dict[Digest, Screening]:
        if session.screenings is None:
            return {}
        return {row.image: row for row in self.store.get_screenings(session.screenings)}

    def journal(self, gate: str) -> Journal[Decision]:
        return self.store.journal(f"reviews/{gate}/decisions", Decision)

    def decide(self, gate: str, decision: Decision) -> None:
        """Appends one decision; it is on disk when this returns. Raises for a closed gate or an unknown picture."""
        session = self.get(gate)
        if self.closed(gate) is not None:
            raise GateError(f"The gate {gate} is closed.", remedy="Start another round with `redo`, or another turn.")
        if decision.image not in {record.digest for record in self.images(session)}:
            raise InputError(f"The picture {decision.image[:12]} does not belong to the gate {gate}.")
        self.journal(gate).append(decision)

    def current(self, gate: str) -> dict[Digest, Decision]:
        """The standing decision about each decided picture."""
        return fold(self.journal(gate).read())

    def close(
        self, gate: str, verdict: GateVerdict, undecided: UndecidedPolicy, *, override_minimum: bool, reviewer: str
    ) -> ClosedGate:
        """Freezes the decisions. The first answer stands: closing again returns it unchanged."""
        closed = self.closed(gate)
        if closed is not None:
            return closed
        session = self.get(gate)
        final = settle(self.images(session), self.screenings(session), self.current(gate), undecided, reviewer)
        decisions = DecisionSet(gate=gate, decisions=final)
        counts = {kind: sum(decision.verdict is kind for decision in final) for kind in Verdict}
        outcome = ClosedGate(
            gate=gate,
            verdict=verdict,
            decisions=self.store.put_blob(decisions.to_bytes()),
            good=counts[Verdict.GOOD],
            needs_correction=counts[Verdict.NEEDS_CORRECTION],
            reject=counts[Verdict.REJECT],
            undecided=len(self.images(session)) - len(final),
            enough=counts[Verdict.GOOD] >= session.minimum or override_minimum,
            reviewer=reviewer,
        )
        self.store.put_document(f"reviews/{gate}/outcome", outcome)
        standing = self.closed(gate)
        assert standing is not None
        return standing

    def closed(self, gate: str) -> ClosedGate | None:
        """How the gate was closed, or None while it is open."""
        return self.store.get_document(f"reviews/{gate}/outcome", ClosedGate)

    def decisions(self, closed: ClosedGate) -> DecisionSet:
        """The frozen decisions of a closed gate."""
        return DecisionSet.from_bytes(self.store.get_blob(closed.decisions), where=f"The decisions of {closed.gate}")


def fold(lines: "list[Decision] | tuple[Decision, ...] | object") -> dict[Digest, Decision]:
    """The standing decision about each picture: the last line about it that was not taken back."""
    undone: set[str] = set()
    seen: dict[str, Decision] = {}
    for line in lines:  # type: ignore[attr-defined]
        if line.undo_of is not None:
            undone.add(line.undo_of)
        else:
            seen.setdefault(line.id, line)
    standing: dict[Digest, Decision] = {}
    for line in seen.values():
        if line.id in undone or (line.batch is not None and line.batch in undone):
            continue
        standing[line.image] = line
    return {image: line for image, line in standing.items() if line.verdict is not None}


def settle(
    images: tuple[ImageRecord, ...],
    screenings: dict[Digest, Screening],
    current: dict[Digest, Decision],
    undecided: UndecidedPolicy,
    reviewer: str,
) -> tuple[FinalDecision, ...]:
    """The final decision about each picture, in the gate's order; undecided ones as the policy says."""
    final = []
    for record in images:
        decision = current.get(record.digest)
        if decision is not None and decision.verdict is not None:
            final.append(
                FinalDecision(
                    image=record.digest,
                    verdict=decision.verdict,
                    reasons=decision.reasons,
                    caption=decision.caption,
                    correction=decision.correction,
                    better_prompt=decision.better_prompt,
                    author=decision.author,
                )
            )
        elif undecided == "take_passed":
            screening = screenings.get(record.digest)
            if screening is not None and screening.outcome == "pass":
                final.append(FinalDecision(image=record.digest, verdict=Verdict.GOOD, author=reviewer, by_policy=True))
    return tuple(final)
