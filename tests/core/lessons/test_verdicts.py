"""What closed gates teach the critic, which verdicts bound a loss, and the audit that is read back from the record."""

from collections.abc import Sequence

from flenwheel_core.critic.order import lot
from flenwheel_core.documents.critics import CriticView, Cut, ScoredPicture
from flenwheel_core.documents.decisions import Verdict
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.lessons.verdicts import audited_gates, collect_verdicts, why_switched_off
from flenwheel_core.store import Store
from tests.kit.gate_fixtures import Line

GUARD = "2" * 64


def close(reviews: Reviews, gate: str) -> None:
    reviews.close(gate, "approve", "take_passed", override_minimum=True, reviewer="ana")


def images(reviews: Reviews, session: ReviewSession) -> list[str]:
    return [record.digest for record in reviews.images(session)]


def view(shown: Sequence[str], *, audit: Sequence[int], rejects: bool = True) -> CriticView:
    """A view in which the critic rejects the first eight."""
    rows = tuple(
        ScoredPicture(
            image=image, chances=(0.5, 0.2, 0.3), useful_place=place, good_place=place, why="", by_lot=place in (*audit, 11),
            says_reject=place < 8, audit=place in audit, set_aside=rejects and place < 8 and place not in audit,
        )
        for place, image in enumerate(shown)
    )  # fmt: skip
    cut = Cut(below=0.2, lost=0, goods=149, bound=0.02, confidence=0.95, level="all")
    return CriticView(
        critic="1" * 64, rung="screening", verdicts=200, guard=GUARD, cut=cut, rejects=rejects, look_at=4, said="", pictures=rows
    )  # fmt: skip


def test_an_open_gate_teaches_nothing_and_a_closed_one_what_a_person_said(
    store: Store, reviews: Reviews, session: ReviewSession, line: Line
) -> None:
    shown = images(reviews, session)
    reviews.decide(session.gate, line(shown[0], "good"), line(shown[11], "reject", reasons=("identity",)))
    assert collect_verdicts(store).lessons == ()
    close(reviews, session.gate)
    found = collect_verdicts(store, "mira").lessons
    assert [(one.image, one.verdict, one.reasons) for one in found] == [
        (shown[0], Verdict.GOOD, ()),
        (shown[11], Verdict.REJECT, ("identity",)),
    ], "what the policy took because screening passed it is no lesson"
    assert found[0].screening is not None and found[0].source is not None and found[0].turn == 1
    assert collect_verdicts(store, "rex").lessons == ()


def test_all_verdicts_are_fair_where_every_picture_was_looked_at(
    store: Store, reviews: Reviews, session: ReviewSession, line: Line
) -> None:
    reviews.decide(session.gate, *(line(image, "good") for image in images(reviews, session)))
    close(reviews, session.gate)
    assert all(one.fair for one in collect_verdicts(store).lessons)


def test_where_some_were_left_only_those_drawn_by_lot_are_fair(
    store: Store, reviews: Reviews, session: ReviewSession, line: Line
) -> None:
    shown = images(reviews, session)
    reviews.decide(session.gate, *(line(image, "good") for image in shown[:11]))
    close(reviews, session.gate)
    fair = {one.image for one in collect_verdicts(store).lessons if one.fair}
    assert fair == {image for image in shown[:11] if lot(session.gate, image) < 0.1}


def test_a_decision_by_threshold_makes_a_gate_unfair(
    store: Store, reviews: Reviews, session: ReviewSession, line: Line
) -> None:
    shown = images(reviews, session)
    reviews.decide(
        session.gate, *(line(image, "good") for image in shown[:11]), line(shown[11], "reject", by_rule=True)
    )
    close(reviews, session.gate)
    found = collect_verdicts(store).lessons
    assert len(found) == 12 and not any(one.fair for one in found)


def test_where_pictures_were_set_aside_only_the_audit_is_fair_and_tells_on_the_critic(
    store: Store, reviews: Reviews, session: ReviewSession, line: Line
) -> None:
    shown = images(reviews, session)
    watched = session.model_copy(
        update={
            "gate": "mira-t2-gate-a-r1",
            "turn": 2,
            "critic": store.put_blob(view(shown, audit=(1, 3, 9)).to_bytes()),
        }
    )
    reviews.open(watched)
    reviews.decide(
        watched.gate,
        *(line(shown[place], "good") for place in (1, 3, 9, 10)),
        line(shown[8], "reject"),
        line(shown[11], "reject"),
    )
    close(reviews, watched.gate)
    found = {one.image: one.fair for one in collect_verdicts(store).lessons}
    assert {image for image, fair in found.items() if fair} == {shown[1], shown[3], shown[9]}
    (audited,), bound = audited_gates(store, GUARD)
    assert bound == 0.02
    assert (audited.said_reject, audited.audited, audited.audited_good, audited.good) == (8, 2, 2, 2)
    assert why_switched_off(store, GUARD).startswith("the audit at mira-t2-gate-a-r1 found 2 good among 2")
    assert why_switched_off(store, "3" * 64) == ""
