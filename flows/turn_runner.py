"""What carries out a turn: it makes stages, waits at gates and publishes reports. The steps of a turn know only this.

Called for every step, also at a replay: a step that was done before gives what it gave then.
"""

from typing import Protocol, TypeVar

from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.lessons.gather import Lessons
from flenwheel_core.reports.turn_report import TurnFacts
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.edit_compare import EditCompareResult
from flenwheel_core.runner.stage import Stage
from flows.gates import await_gate
from tasks.editor import gather, publish_editor_report
from tasks.reporting import publish_report
from tasks.stages import TASKS

Request = TypeVar("Request", bound=StageRequest)
Result = TypeVar("Result", bound=StageResult)


class StageRunner(Protocol):
    """What work without gates asks for."""

    def stage(self, stage: Stage[Request, Result], request: Request, label: str) -> Result:
        """The result of a stage. `label` says for people which one it is, such as "train mira-t1 v1"."""


class StepRunner(StageRunner, Protocol):
    """What turns of both flywheels ask for."""

    def gate(self, reviews: Reviews, session: ReviewSession) -> ClosedGate:
        """The answer to a gate; comes back only when there is one."""


class TurnRunner(StepRunner, Protocol):
    """Carries out a turn of a character."""

    def turn_report(self, facts: TurnFacts) -> str:
        """The page about a turn that ended, published."""


class EditorTurnRunner(StepRunner, Protocol):
    """Carries out a turn of the editor."""

    def lessons(self, character: str | None) -> Lessons:
        """The lessons that closed gates of a character, or of all, have given so far."""

    def editor_report(self, turn: str, lessons: Lessons, score: EditCompareResult) -> None:
        """Publishes the page about a comparison of editors."""


class PrefectRunner:
    """Inside of a Prefect flow run: a stage is a task run, and the run suspends at a gate."""

    def stage(self, stage: Stage[Request, Result], request: Request, label: str) -> Result:
        result = TASKS[stage.name](request, label)
        assert isinstance(result, stage.result)
        return result

    def gate(self, reviews: Reviews, session: ReviewSession) -> ClosedGate:
        return await_gate(reviews, session)

    def lessons(self, character: str | None) -> Lessons:
        return gather(character)

    def turn_report(self, facts: TurnFacts) -> str:
        return publish_report(facts)

    def editor_report(self, turn: str, lessons: Lessons, score: EditCompareResult) -> None:
        publish_editor_report(turn, lessons, score)
