"""Turns that are not over: where each waits, why there is no second one beside it, and how a person ends one.

A turn is a character's, or the editor's (then the character is None). It is over once its end is recorded. Whether its run still goes on
only the flow server knows: a run that failed, crashed, was cancelled or deleted keeps nobody waiting, but its turn may be retried or ended.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import TurnError
from flenwheel_core.documents.triplets import TripletSet
from flenwheel_core.gates.flow_server import GOES_ON, RunEnder, RunStatus
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.lessons.waiting import offered_triplets
from flenwheel_core.library.characters import Library, TurnEnded
from flenwheel_core.library.editors import EditorLibrary
from flenwheel_core.library.turn_numbers import Look, TurnOpened
from flenwheel_core.store import Store

RunStates = Callable[[tuple[str, ...]], Mapping[str, RunStatus]]
"""How runs stand, by id; runs that the flow server does not know are left out."""


class OpenTurn(Document):
    """A turn that is not over."""

    character: str | None
    number: int
    flow_run: str
    gate: str | None
    """The gate that it waits at, if one is open."""

    @property
    def name(self) -> str:
        """Such as "mira's turn 3"."""
        return f"{self.character}'s turn {self.number}" if self.character else f"turn {self.number} of the editor"

    @property
    def ending(self) -> str:
        """The command that ends it."""
        return (
            f"flenwheel end {self.character} {self.number}" if self.character else f"flenwheel editor end {self.number}"
        )


def open_turns(store: Store, character: str | None) -> list[OpenTurn]:
    """The turns of a character, or of the editor, whose end is not recorded; oldest first."""
    reviews = Reviews(store)
    ended = _ended(store, character)
    turns = EditorLibrary(store).turns() if character is None else Library(store).turns(character)
    left = [turn for turn in turns if turn.flow_run not in ended]
    gates = _open_gates(reviews) if left else {}
    return [_open(character, turn, gates) for turn in left]


def only_one(store: Store, character: str | None, states: RunStates) -> Look:
    """Refuses a further turn while the run of an open one goes on: TurnError says where that one waits."""

    def look(turns: tuple[TurnOpened, ...]) -> None:
        standing = going_on(store, character, states)
        if standing is not None:
            raise TurnError(_second(standing), why=_where(standing), remedy=_remedy(standing))

    return look


def going_on(store: Store, character: str | None, states: RunStates) -> OpenTurn | None:
    """The newest open turn whose run goes on; None if there is none."""
    turns = open_turns(store, character)
    known = states(tuple(turn.flow_run for turn in turns)) if turns else {}
    found = [turn for turn in turns if turn.flow_run in known and known[turn.flow_run].state in GOES_ON]
    return found[-1] if found else None


def in_words(turn: OpenTurn, known: Mapping[str, RunStatus] | None) -> str:
    """How an open turn stands: `known` are the runs that the flow server knows; None if it was not asked."""
    if known is None:
        return "open"
    words = run_in_words(known.get(turn.flow_run))
    if turn.flow_run in known and known[turn.flow_run].state in GOES_ON:
        return f"open, waits at {turn.gate}" if turn.gate and words == WAITS else f"open, its run {words}"
    return f"open, but its run {words}: retry it in Prefect, or end the turn with `{turn.ending}`"


WAITS = "waits"


def run_in_words(status: RunStatus | None) -> str:
    """What a run does or did, to follow "its run"; None is a run that the flow server does not know."""
    if status is None:
        return "was deleted"
    return {
        "PAUSED": WAITS,
        "SCHEDULED": "is about to go on",
        "PENDING": "is about to go on",
        "RUNNING": "is at work",
        "COMPLETED": "is over",
        "FAILED": "failed",
        "CRASHED": "crashed",
        "CANCELLING": "is being cancelled",
        "CANCELLED": "was cancelled",
    }.get(status.state, "was deleted")


def refuse_ended(store: Store, character: str | None, flow_run: str) -> None:
    """Raises TurnError if a person ended the turn of this run: a retry does not bring it back."""
    ended = _ended(store, character).get(flow_run)
    if ended is not None and ended[0] == "ended":
        raise TurnError(
            "This turn was ended.", why=f"{ended[1] or 'somebody'} ended it.", remedy="Start another turn instead."
        )


def end_turn(
    store: Store, character: str | None, number: int | None, *, author: str, runs: RunEnder | None
) -> tuple[OpenTurn, str]:
    """Ends an open turn, the newest one if no number is given; returns it with a sentence about what became of it.

    Its open gate is answered with stop, so that what was decided there is kept. A run that waits at it ends by itself; any other run that
    goes on is cancelled. Raises TurnError if there is no such open turn, ServerError if the flow server does not answer.
    """
    turn = _find(store, character, number)
    reviews = Reviews(store)
    gates = [session for session in _open_gates(reviews).values() if session.flow_run == turn.flow_run]
    status = runs.run_statuses((turn.flow_run,)).get(turn.flow_run) if runs is not None else None
    for session in gates:
        closed = reviews.close(session.gate, "stop", "leave_out", override_minimum=False, reviewer=author)
        waits = runs is not None and status is not None and status.state == "PAUSED"
        if runs is not None and waits and runs.resume_gate(turn.flow_run, closed).accepted:
            return turn, f"{turn.name} was stopped at {session.gate}; its run ends by itself."
    if runs is not None and status is not None and status.state in GOES_ON:
        runs.cancel_run(turn.flow_run)
    _record(store, turn, "stopped" if gates else "ended", author)
    return turn, f"{turn.name} is ended. What was decided and made is kept; nothing was promoted."


def _find(store: Store, character: str | None, number: int | None) -> OpenTurn:
    turns = open_turns(store, character)
    chosen = [turn for turn in turns if number in (None, turn.number)]
    if not chosen:
        whose = character or "the editor"
        left = ", ".join(str(turn.number) for turn in turns) or "none"
        raise TurnError(
            f"{whose} has no open turn{'' if number is None else f' {number}'}.", why=f"open turns: {left}."
        )
    return chosen[-1]


def _record(store: Store, turn: OpenTurn, outcome: Literal["stopped", "ended"], author: str) -> None:
    if turn.character is not None:
        ended = TurnEnded(at=datetime.now(UTC), number=turn.number, flow_run=turn.flow_run, outcome=outcome, by=author)
        Library(store).end_turn(turn.character, ended)
        return
    lessons = offered_triplets(store, turn.flow_run)
    triplets = TripletSet(triplets=lessons)
    EditorLibrary(store).end_run(turn.flow_run, outcome, store.put_blob(triplets.to_bytes()), len(lessons), by=author)


def _ended(store: Store, character: str | None) -> dict[str, tuple[str, str]]:
    """Outcome, and who ended it, of the turns that are over, by run."""
    if character is None:
        return {run.flow_run: (run.outcome, run.by) for run in EditorLibrary(store).ended_runs()}
    return {turn.flow_run: (turn.outcome, turn.by) for turn in Library(store).ended_turns(character)}


def _open_gates(reviews: Reviews) -> dict[str, ReviewSession]:
    """The open gates, by the run that waits at each."""
    sessions = [reviews.get(gate) for gate in reviews.gates() if reviews.closed(gate) is None]
    return {session.flow_run: session for session in sessions if session.flow_run is not None}


def _open(character: str | None, turn: TurnOpened, gates: dict[str, ReviewSession]) -> OpenTurn:
    gate = gates.get(turn.flow_run)
    return OpenTurn(
        character=character, number=turn.number, flow_run=turn.flow_run, gate=gate.gate if gate is not None else None
    )


def _second(turn: OpenTurn) -> str:
    whose = turn.character or "The editor"
    return f"{whose} has an open turn already, so no second one was begun."


def _where(turn: OpenTurn) -> str:
    return f"{turn.name} waits at the gate {turn.gate}." if turn.gate else f"{turn.name} is still at work."


def _remedy(turn: OpenTurn) -> str:
    answer = "Answer the gate" if turn.gate else "Wait for it"
    return f"{answer}, end that turn ({turn.ending}), or ask for another one beside it (beside_open_turn)."
