"""One open turn at a time, and every turn can be ended, whatever became of its run."""

from pathlib import Path

import pytest

from flenwheel_core.base.errors import TurnError
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.gates.flow_server import ResumeResult, RunStatus
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.library.editors import EditorLibrary
from flenwheel_core.records.open_turns import end_turn, going_on, in_words, only_one, open_turns, refuse_ended
from flenwheel_core.store import Store

ZERO = "0" * 64
GATE = "mira-t1-gate-a-r1"


class Server:
    """A flow server that knows these runs."""

    def __init__(self, **states: str) -> None:
        self.states = states
        self.resumed: list[ClosedGate] = []
        self.cancelled: list[str] = []

    def run_statuses(self, flow_run_ids: tuple[str, ...]) -> dict[str, RunStatus]:
        return {id_: RunStatus(flow_run=id_, state=self.states[id_]) for id_ in flow_run_ids if id_ in self.states}

    def resume_gate(self, flow_run_id: str, outcome: ClosedGate) -> ResumeResult:
        self.resumed.append(outcome)
        return ResumeResult(accepted=True)

    def cancel_run(self, flow_run_id: str) -> None:
        self.cancelled.append(flow_run_id)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store((tmp_path / "store").as_uri())
    mira = Character(name="mira", trigger="ohwx_char", class_word="person", kind="person", recipe="nano")
    Library(store).create_character(mira)
    Library(store).open_turn("mira", "one", ZERO)
    return store


def open_gate(store: Store, flow_run: str = "one") -> Reviews:
    reviews = Reviews(store)
    reviews.open(
        ReviewSession(
            gate=GATE,
            kind="enriched",
            character="mira",
            turn=1,
            round=1,
            images=store.put_images([]),
            minimum=1,
            flow_run=flow_run,
        )
    )
    return reviews


@pytest.mark.parametrize("state", ["SCHEDULED", "PENDING", "RUNNING", "PAUSED"])
def test_a_turn_that_goes_on_leaves_no_room_for_a_second_one(store: Store, state: str) -> None:
    open_gate(store)
    with pytest.raises(TurnError) as refused:
        Library(store).open_turn("mira", "two", ZERO, only_one(store, "mira", Server(one=state).run_statuses))
    assert GATE in refused.value.message and "flenwheel end mira 1" in refused.value.message
    assert len(Library(store).turns("mira")) == 1


@pytest.mark.parametrize("state", ["FAILED", "CRASHED", "CANCELLED", "CANCELLING", "COMPLETED", None])
def test_a_run_that_does_not_go_on_blocks_nobody(store: Store, state: str | None) -> None:
    server = Server() if state is None else Server(one=state)
    assert going_on(store, "mira", server.run_statuses) is None
    (turn,) = open_turns(store, "mira")
    said = in_words(turn, server.run_statuses(("one",)))
    assert "flenwheel end mira 1" in said and ("deleted" in said) == (state is None)


def test_the_editor_and_each_character_have_a_turn_of_their_own(store: Store) -> None:
    EditorLibrary(store).open_turn("editor run", ZERO)
    server = Server(one="PAUSED", **{"editor run": "RUNNING"})
    assert going_on(store, None, server.run_statuses) == open_turns(store, None)[0]
    assert going_on(store, "nora", server.run_statuses) is None
    with pytest.raises(TurnError, match="editor end 1"):
        EditorLibrary(store).open_turn("next", ZERO, only_one(store, None, server.run_statuses))


def test_ending_a_turn_that_waits_answers_its_gate_with_stop(store: Store) -> None:
    reviews, server = open_gate(store), Server(one="PAUSED")
    _, said = end_turn(store, "mira", None, author="ana", runs=server)
    closed = reviews.closed(GATE)
    assert closed is not None and (closed.verdict, closed.reviewer) == ("stop", "ana")
    assert server.resumed == [closed] and server.cancelled == [] and GATE in said
    assert open_turns(store, "mira") != [], "its run records the end itself"


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED", None])
def test_ending_a_turn_whose_run_is_gone_keeps_what_was_decided(store: Store, state: str | None) -> None:
    reviews = open_gate(store)
    server = Server() if state is None else Server(one=state)
    end_turn(store, "mira", 1, author="ana", runs=server)
    closed = reviews.closed(GATE)
    assert closed is not None and closed.verdict == "stop"
    assert [(turn.outcome, turn.by) for turn in Library(store).ended_turns("mira")] == [("stopped", "ana")]
    assert open_turns(store, "mira") == [] and server.cancelled == []


def test_ending_a_turn_at_work_cancels_its_run_and_no_retry_brings_it_back(store: Store) -> None:
    server = Server(one="RUNNING")
    end_turn(store, "mira", 1, author="ana", runs=server)
    assert server.cancelled == ["one"]
    with pytest.raises(TurnError, match="ana ended it"):
        refuse_ended(store, "mira", "one")
    with pytest.raises(TurnError, match="no open turn 1"):
        end_turn(store, "mira", 1, author="ana", runs=server)


def test_the_editors_turn_can_be_ended_too(store: Store) -> None:
    EditorLibrary(store).open_turn("editor run", ZERO)
    end_turn(store, None, None, author="ana", runs=Server(**{"editor run": "CRASHED"}))
    assert [run.outcome for run in EditorLibrary(store).ended_runs()] == ["ended"]
    assert open_turns(store, None) == []
