"""A person's answers to a gate."""

from datetime import UTC, datetime

from benchmarks.kit.workspace import Running
from flenwheel_core.documents.decisions import Decision, Verdict
from flenwheel_core.gates.session import Reviews


def approve_every_picture(running: Running, gate: str) -> None:
    """A person looks at each: what a policy decides teaches the editor nothing."""
    reviews = Reviews(running.store)
    for record in reviews.images(reviews.get(gate)):
        line = Decision(
            id=f"{gate} {record.digest}",
            at=datetime.now(UTC),
            author="tester",
            image=record.digest,
            verdict=Verdict.GOOD,
        )
        reviews.decide(gate, line)
