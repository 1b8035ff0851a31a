"""What the critic set aside is rejected unless a person decides otherwise; it never approves."""

import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.critics import CriticView, ScoredPicture
from flenwheel_core.documents.decisions import Verdict
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.gates.summary import summarise
from flenwheel_core.store import Store
from tests.kit.gate_fixtures import Line


@pytest.fixture
def aside(store: Store, reviews: Reviews, session: ReviewSession) -> ReviewSession:
    """A gate where the critic set the first three pictures aside."""
    rows = tuple(
        ScoredPicture(
            image=record.digest, chances=(0.9, 0.05, 0.05), useful_place=place, good_place=place, why="hopeless", by_lot=False,
            says_reject=place < 3, set_aside=place < 3,
        )
        for place, record in enumerate(reviews.images(session))
    )  # fmt: skip
    view = CriticView(
        critic="1" * 64, rung="screening", verdicts=200, guard="2" * 64, rejects=True, look_at=len(rows) - 3, said="said",
        pictures=rows,
    )  # fmt: skip
    more = {"gate": "mira-t2-gate-a-r1", "turn": 2, "critic": store.put_blob(view.to_bytes())}
    return reviews.open(session.model_copy(update=more))


def test_nobody_looked_so_it_is_rejected_in_the_critics_name(
    reviews: Reviews, aside: ReviewSession, line: Line
) -> None:
    first, second, third, fourth = (record.digest for record in reviews.images(aside)[:4])
    reviews.decide(aside.gate, line(second, "good"), line(fourth, "good"))
    summary = summarise(reviews.gate(aside.gate), (), "take_passed")
    assert summary.set_aside == 2 and any("set aside by the critic" in text for text in summary.warnings)
    closed = reviews.close(aside.gate, "approve", "take_passed", override_minimum=True, reviewer="ana")
    final = {one.image: one for one in reviews.decisions(closed).decisions}
    assert (final[first].verdict, final[first].author, final[first].by_policy) == (
        Verdict.REJECT,
        "critic " + "2" * 12,
        True,
    )
    assert final[second].verdict is Verdict.GOOD and not final[second].by_policy, (
        "a person's word counts, whatever the critic says"
    )
    assert final[third].verdict is Verdict.REJECT


def test_a_gate_without_a_critic_is_stored_as_before(reviews: Reviews, session: ReviewSession) -> None:
    assert {"critic", "note"}.isdisjoint(session.model_dump(mode="json"))
    assert reviews.gate(session.gate).set_aside == {}


def test_verdicts_that_are_shown_again_take_no_corrections(
    reviews: Reviews, session: ReviewSession, line: Line
) -> None:
    shown = reviews.open(session.model_copy(update={"gate": "critic-turn-1-gate-d-r1", "kind": "verdicts"}))
    with pytest.raises(InputError, match="takes no corrections"):
        reviews.decide(shown.gate, line(reviews.images(shown)[0].digest, "needs_correction"))
