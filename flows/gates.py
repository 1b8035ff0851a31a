"""Gates: where a turn waits for a person, for as long as it takes. The only place in the project that suspends a run.

A waiting gate holds no process and no card. Its decisions are in the review journal; the run gets a small outcome, whether it is
answered in the studio, with `flenwheel approve`, or in the form of the Prefect interface.
"""

from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput, read_flow_run_input
from prefect.input.run_input import keyset_from_base_key
from prefect.logging import get_run_logger
from pydantic import Field

from flenwheel_core.documents.decisions import ClosedGate, GateVerdict, UndecidedPolicy
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.gates.summary import too_few
from tasks.gate_notice import announce_gate

FORM = "Prefect interface"
"""Who answered, if the form was left without a name."""


class GateOutcome(RunInput):
    """The answer to a gate."""

    verdict: GateVerdict = Field(
        description="approve goes on with the good pictures; redo makes another round with new seeds (good ones are kept); "
        "stop ends the turn"
    )
    undecided: UndecidedPolicy = Field(
        default="leave_out",
        description="Pictures nobody decided about: leave_out, or take_passed to take those that passed screening",
    )
    override_minimum: bool = Field(default=False, description="Go on although fewer pictures are good than asked for")
    reviewer: str = Field(default="", max_length=100, description="Who answers; goes into the record")
    decisions_digest: str | None = Field(
        default=None, description="Filled in by the studio: digest of the decisions it froze. Leave it empty"
    )


def await_gate(reviews: Reviews, session: ReviewSession) -> ClosedGate:
    """The outcome of a gate; suspends the run until there is one.

    Replayed, it returns what was answered. An approval with too few good pictures and no override is asked again, and says why.
    """
    session = reviews.open(session)
    attempt, answer = _last_answer(session.gate)
    closed = reviews.closed(session.gate)
    if closed is not None:
        _note_second(reviews, closed, answer)
        return closed
    refusal = "" if answer is None else _refusal(reviews, session, answer)
    if answer is None or refusal:
        answer = _suspend(_key(session.gate, attempt + 1), announce_gate(session, refusal))
    return reviews.close(
        session.gate,
        answer.verdict,
        answer.undecided,
        override_minimum=answer.override_minimum,
        reviewer=answer.reviewer or FORM,
    )


def _note_second(reviews: Reviews, closed: ClosedGate, answer: GateOutcome | None) -> None:
    """The form of the interface takes an answer although another one stands: the log and the studio say so."""
    if answer is None or not reviews.note_late_answer(closed.gate, answer.verdict, answer.reviewer or FORM):
        return
    get_run_logger().warning(
        f"{closed.gate} was answered twice. {closed.verdict} by {closed.reviewer or 'somebody'} came first and stands; "
        f"{answer.verdict} by {answer.reviewer or FORM} did not count."
    )


def _key(gate: str, attempt: int) -> str:
    return f"{gate}-{attempt}"


def _last_answer(gate: str) -> tuple[int, GateOutcome | None]:
    """How often the gate was answered, and the last answer. A stored answer is used again: a Retry never asks twice."""
    attempt, answer = 0, None
    while True:
        stored = read_flow_run_input(keyset_from_base_key(f"suspended-{_key(gate, attempt + 1)}")["response"])
        if stored is None:
            return attempt, answer
        attempt, answer = attempt + 1, GateOutcome.model_validate(stored)


def _refusal(reviews: Reviews, session: ReviewSession, answer: GateOutcome) -> str:
    """Why an answer cannot be taken; empty if it can."""
    opened = reviews.gate(session.gate)
    short = too_few(opened, answer.verdict, answer.undecided, override_minimum=answer.override_minimum)
    if short is None:
        return ""
    return (
        f"It was approved with {short.usable} good pictures, but this gate asks for {session.minimum}. "
        "Decide about more pictures, take those that passed screening, choose redo, or override the minimum."
    )


def _suspend(key: str, description: str) -> GateOutcome:
    answer = suspend_flow_run(
        wait_for_input=GateOutcome.with_initial_data(description=description), key=key, timeout=None
    )
    assert isinstance(answer, GateOutcome)
    return answer
