"""What was refused must not stand in the journal: somebody was told that it does not count."""

from datetime import UTC, datetime
from pathlib import Path

from benchmarks.system.reviewers import Person, counted
from flenwheel_core.documents.decisions import Decision, Verdict
from flenwheel_core.gates.session import Reviews
from flenwheel_core.store import Store
from tests.kit.gate_world import open_gate


def test_a_refused_line_that_was_written_is_found(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    session, reviews = open_gate(store, 2, side=16), Reviews(store)
    image = reviews.gate(session.gate).images[0].digest
    line = Decision(id="ana-0", at=datetime.now(UTC), author="ana", image=image, verdict=Verdict.GOOD)
    reviews.decide(session.gate, line)
    reviews.close(session.gate, "approve", "leave_out", override_minimum=True, reviewer="person0")
    person = Person("ana", "", session.gate, [], 1.0, milliseconds=[1.0], accepted=["ana-0"], refused=["ana-1"])
    row = counted(store, session.gate, [person], 1)
    assert row["lost"] == row["refused_yet_written"] == 0 and row["refused_after_the_answer"] == 1
    person.refused.append("ana-0")
    assert counted(store, session.gate, [person], 1)["refused_yet_written"] == 1
