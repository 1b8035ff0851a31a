"""Reviews over a store: durable decisions, undo after a restart, other processes, closing once."""

import multiprocessing
import threading

import pytest

from flenwheel_core.base.errors import GateError, InputError, NotFoundError
from flenwheel_core.documents.decisions import Decision, Verdict
from flenwheel_core.gates.session import KEPT_GATES, Reviews, ReviewSession
from flenwheel_core.store import Store
from tests.kit.gate_fixtures import Line


def images(reviews: Reviews, session: ReviewSession) -> list[str]:
    return [record.digest for record in reviews.images(session)]


def test_a_decision_is_on_disk_when_decide_returns(reviews: Reviews, session: ReviewSession, line: Line) -> None:
    image = images(reviews, session)[0]
    decision = line(image, "good")
    reviews.decide(session.gate, decision)
    assert list(Reviews(reviews.store).journal(session.gate).read()) == [decision]


def test_a_repeated_request_is_one_decision(reviews: Reviews, session: ReviewSession, line: Line) -> None:
    decision = line(images(reviews, session)[0], "good")
    reviews.decide(session.gate, decision)
    reviews.decide(session.gate, decision)
    assert len(list(reviews.journal(session.gate).read())) == 1


def test_a_picture_of_another_gate_is_refused(reviews: Reviews, session: ReviewSession, line: Line) -> None:
    with pytest.raises(InputError, match="does not belong"):
        reviews.decide(session.gate, line("f" * 64, "good"))
    with pytest.raises(NotFoundError, match="no gate"):
        reviews.decide("other", line("f" * 64, "good"))


def test_undo_works_without_limit_and_after_a_restart(reviews: Reviews, session: ReviewSession, line: Line) -> None:
    first, second = images(reviews, session)[:2]
    reviews.decide(session.gate, line(first, "good"))
    reviews.decide(session.gate, line(second, "reject"))
    again = Reviews(reviews.store)
    assert again.undo(session.gate, "tom", "undo-00") is None
    taken = again.undo(session.gate, "ana", "undo-01")
    assert taken is not None and taken.image == second
    assert set(again.current(session.gate)) == {first}
    third = Reviews(reviews.store)
    assert third.undo(session.gate, "ana", "undo-01") is None, "the same request again takes nothing more back"
    assert third.undo(session.gate, "ana", "undo-02") is not None
    assert third.current(session.gate) == {}
    assert third.undo(session.gate, "ana", "undo-03") is None


def test_lines_of_another_process_are_seen(reviews: Reviews, session: ReviewSession, line: Line) -> None:
    image = images(reviews, session)[0]
    assert reviews.current(session.gate) == {}
    Reviews(reviews.store).decide(session.gate, line(image, "good", "tom"))
    assert reviews.current(session.gate)[image].author == "tom"


def test_a_journal_that_became_shorter_is_read_anew(reviews: Reviews, session: ReviewSession, line: Line) -> None:
    first, second = images(reviews, session)[:2]
    reviews.decide(session.gate, line(first, "good"))
    reviews.decide(session.gate, line(second, "good"))
    assert reviews.store.files.local is not None
    path = reviews.store.files.local / f"journals/reviews/{session.gate}/decisions.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert set(reviews.current(session.gate)) == {first}


def test_the_first_answer_stands(reviews: Reviews, session: ReviewSession, line: Line) -> None:
    image = images(reviews, session)[0]
    reviews.decide(session.gate, line(image, "good"))
    closed = reviews.close(session.gate, "approve", "leave_out", override_minimum=True, reviewer="ana")
    again = reviews.close(session.gate, "stop", "leave_out", override_minimum=False, reviewer="tom")
    assert again == closed
    assert (closed.good, closed.undecided, closed.enough, closed.reviewer) == (1, 11, True, "ana")
    with pytest.raises(GateError, match="closed"):
        reviews.decide(session.gate, line(image, "reject"))
    with pytest.raises(GateError, match="closed"):
        reviews.undo(session.gate, "ana", "undo-01")
    assert [decision.image for decision in reviews.decisions(closed).decisions] == [image]


def test_undecided_pictures_follow_the_policy_but_conflicts_never(
    reviews: Reviews, session: ReviewSession, line: Line
) -> None:
    best, second = images(reviews, session)[:2]
    reviews.decide(session.gate, line(best, "good", "ana"), line(best, "reject", "tom"))
    reviews.decide(session.gate, line(second, "reject"))
    closed = reviews.close(session.gate, "approve", "take_passed", override_minimum=True, reviewer="ana")
    passed = {image for image, row in reviews.screenings(session).items() if row.outcome == "pass"}
    final = {decision.image: decision for decision in reviews.decisions(closed).decisions}
    assert best in passed and best not in final
    assert final[second].verdict is Verdict.REJECT
    assert {image for image, decision in final.items() if decision.by_policy} == passed - {best, second}


def test_no_decision_slips_in_while_a_gate_is_frozen(reviews: Reviews, session: ReviewSession, line: Line) -> None:
    """Whatever decide() accepted is in the frozen set, however the threads interleave."""
    accepted: list[str] = []
    lines = [line(image, "good", f"author-{n}") for n, image in enumerate(images(reviews, session))]
    other = Reviews(reviews.store)
    start = threading.Barrier(2)

    def decide() -> None:
        start.wait()
        for one in lines:
            try:
                other.decide(session.gate, one)
            except GateError:
                return
            accepted.append(one.image)

    thread = threading.Thread(target=decide)
    thread.start()
    start.wait()
    closed = reviews.close(session.gate, "approve", "leave_out", override_minimum=True, reviewer="ana")
    thread.join()
    assert [decision.image for decision in reviews.decisions(closed).decisions] == accepted


def _decide_all(url: str, gate: str, author: str, chosen: list[str]) -> None:
    reviews = Reviews(Store(url))
    for number, image in enumerate(chosen):
        reviews.decide(
            gate,
            Decision.model_validate(
                {
                    "id": f"{author}-{number:04d}",
                    "at": "2026-01-01T00:00:00Z",
                    "author": author,
                    "image": image,
                    "verdict": "good",
                }
            ),
        )


@pytest.mark.slow
def test_two_processes_at_once_lose_nothing(reviews: Reviews, session: ReviewSession) -> None:
    chosen = images(reviews, session)
    context = multiprocessing.get_context("spawn")
    url = reviews.store.files.url
    processes = [context.Process(target=_decide_all, args=(url, session.gate, name, chosen)) for name in ("ana", "tom")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(list(reviews.journal(session.gate).read())) == 2 * len(chosen)
    assert len(reviews.current(session.gate)) == len(chosen)


def test_only_a_few_gates_stay_in_memory(reviews: Reviews, session: ReviewSession) -> None:
    for number in range(KEPT_GATES + 3):
        other = session.model_copy(update={"gate": f"gate-{number}"})
        reviews.open(other)
        reviews.gate(other.gate)
    assert len(reviews._opened) == KEPT_GATES
    assert set(reviews.gates()) >= {session.gate, "gate-0"}


def test_opening_a_gate_again_changes_nothing(reviews: Reviews, session: ReviewSession) -> None:
    assert reviews.open(session.model_copy(update={"minimum": 99})) == session


def test_an_answer_belongs_to_one_run(reviews: Reviews, session: ReviewSession) -> None:
    gate = session.model_copy(update={"gate": "mira-t9-gate-a-r1", "flow_run": "one"})
    reviews.open(gate)
    reviews.close(gate.gate, "approve", "leave_out", override_minimum=True, reviewer="ana")
    assert reviews.open(gate) == gate, "a replay of the same run"
    with pytest.raises(GateError, match="belongs to another run"):
        reviews.open(gate.model_copy(update={"flow_run": "two"}))


def test_a_second_answer_is_kept_and_does_not_count(reviews: Reviews, session: ReviewSession) -> None:
    assert not reviews.note_late_answer(session.gate, "stop", "tom"), "nothing stands yet"
    reviews.close(session.gate, "approve", "leave_out", override_minimum=True, reviewer="ana")
    assert reviews.note_late_answer(session.gate, "stop", "tom")
    assert not reviews.note_late_answer(session.gate, "stop", "tom"), "a replay"
    assert not reviews.note_late_answer(session.gate, "approve", "tom"), "it says the same"
    assert [(late.verdict, late.reviewer) for late in reviews.late_answers(session.gate)] == [("stop", "tom")]
    assert reviews.closed(session.gate).verdict == "approve"  # type: ignore[union-attr]
