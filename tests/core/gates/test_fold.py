"""The fold over a review journal."""

from flenwheel_core.documents.decisions import Decision
from flenwheel_core.gates.fold import GateState, fold
from tests.kit.gate_fixtures import Line

A, B = "a" * 64, "b" * 64


def state_of(*lines: Decision) -> GateState:
    state = GateState()
    for line in lines:
        state.add(line)
    return state


def test_the_last_line_of_an_author_stands(line: Line) -> None:
    assert fold([line(A, "good"), line(A, "reject")])[A].verdict == "reject"


def test_an_undo_brings_back_what_stood_before(line: Line) -> None:
    first, second = line(A, "good"), line(A, "reject")
    assert fold([first, second, line(A, None, undo_of=second.id)])[A] == first


def test_a_batch_is_taken_back_as_one(line: Line) -> None:
    lines = [line(A, "reject", batch="b1"), line(B, "reject", batch="b1")]
    assert set(fold(lines)) == {A, B}
    assert fold([*lines, line(A, None, undo_of="b1")]) == {}


def test_a_repeated_line_counts_once(line: Line) -> None:
    first, second = line(A, "good"), line(A, "reject")
    assert fold([first, second, first])[A].verdict == "reject"


def test_authors_who_disagree_leave_the_picture_undecided_and_both_are_shown(line: Line) -> None:
    state = state_of(line(A, "good", "ana"), line(A, "reject", "tom"))
    picture = state.picture(A)
    assert picture.conflict and picture.verdict is None
    assert [(o.author, o.verdict) for o in picture.opinions] == [("ana", "good"), ("tom", "reject")]
    assert state.conflicts() == (A,) and state.standing() == {}
    assert state.counts(2) == {"good": 0, "needs_correction": 0, "reject": 0, "conflicts": 1, "undecided": 1}


def test_a_conflict_ends_when_one_author_gives_way(line: Line) -> None:
    state = state_of(line(A, "good", "ana"), line(A, "reject", "tom"), line(A, "reject", "ana"))
    assert state.picture(A).verdict == "reject" and not state.picture(A).conflict


def test_who_saw_the_conflict_may_settle_it(line: Line) -> None:
    ana, tom = line(A, "good", "ana"), line(A, "reject", "tom")
    settled = line(A, "good", "ana", over=(tom.id,))
    assert state_of(ana, tom, settled).picture(A).verdict == "good"
    taken_back = line(A, None, "ana", undo_of=settled.id)
    assert state_of(ana, tom, settled, taken_back).picture(A).conflict


def test_a_settlement_does_not_cover_what_its_author_did_not_see(line: Line) -> None:
    ana, tom = line(A, "good", "ana"), line(A, "reject", "tom")
    settled, again = line(A, "good", "ana", over=(tom.id,)), line(A, "needs_correction", "tom")
    assert state_of(ana, tom, settled, again).picture(A).conflict


def test_two_captions_conflict_but_one_is_shared(line: Line) -> None:
    assert state_of(line(A, "good", "ana", caption="x"), line(A, "good", "tom", caption="y")).picture(A).conflict
    picture = state_of(line(A, "good", "ana", caption="x"), line(A, "good", "tom")).picture(A)
    assert picture.decision is not None and picture.decision.caption == "x"


def test_reasons_of_agreeing_authors_add_up(line: Line) -> None:
    state = state_of(line(A, "reject", "ana", reasons=("style",)), line(A, "reject", "tom", reasons=("anatomy",)))
    decision = state.picture(A).decision
    assert decision is not None and decision.reasons == ("style", "anatomy") and decision.author == "tom"


def test_a_withdrawn_verdict_leaves_the_picture_undecided(line: Line) -> None:
    state = state_of(line(A, "good"), line(A, None, caption="kept"))
    assert state.standing() == {}
    decision = state.picture(A).decision
    assert decision is not None and decision.caption == "kept"


def test_undo_goes_back_action_by_action_for_each_author(line: Line) -> None:
    first, other = line(A, "good", "ana"), line(B, "good", "tom")
    batch = [line(A, "reject", "ana", batch="b1"), line(B, "reject", "ana", batch="b1")]
    state = state_of(first, other, *batch)
    last = state.last_action("ana")
    assert last is not None and last.batch == "b1"
    state.add(line(A, None, "ana", undo_of="b1"))
    assert state.last_action("ana") == first
    state.add(line(A, None, "ana", undo_of=first.id))
    assert state.last_action("ana") is None
    assert state.last_action("tom") == other


def test_the_revision_names_what_changed(line: Line) -> None:
    state = state_of(line(A, "good"))
    before = len(state.changes)
    state.add(line(B, "reject"))
    assert state.changes[before:] == [B]
