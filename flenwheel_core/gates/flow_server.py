"""What the studio asks of the flow server. `deployments/studio/serve.py` gives it Prefect; without one the studio only keeps decisions."""

from typing import Literal, Protocol

from flenwheel_core.base.document import Document
from flenwheel_core.base.progress import ProgressEvent
from flenwheel_core.documents.decisions import ClosedGate

Flywheel = Literal["character", "editor"]

GOES_ON = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED")
"""States of a run that works, waits, or will begin by itself. All others go on only if a person retries the run."""
DELETED = "DELETED"
"""The state, as shown here, of a run that the server does not know any more."""


class ResumeResult(Document):
    """Whether a suspended run took the answer."""

    accepted: bool
    reason: str = ""


class RunStatus(Document):
    """How a flow run stands."""

    flow_run: str
    state: str
    """SCHEDULED, PENDING, RUNNING, PAUSED (which includes suspended), CANCELLING, COMPLETED, FAILED, CANCELLED, CRASHED or DELETED."""
    name: str = ""
    """The state's own name, such as Suspended or AwaitingRetry."""
    message: str = ""
    starts: int = 0
    """How often it was begun."""
    progress: tuple[ProgressEvent, ...] = ()
    """How far the stage is that it is in; the latest event last."""


class GateResumer(Protocol):
    """Resumes suspended runs."""

    def resume_gate(self, flow_run_id: str, outcome: ClosedGate) -> ResumeResult:
        """Hands a gate's outcome to its run. Raises ServerError if the server does not answer."""
        ...


class RunEnder(GateResumer, Protocol):
    """Also says how runs stand, and cancels them."""

    def run_statuses(self, flow_run_ids: tuple[str, ...]) -> dict[str, RunStatus]:
        """How runs stand, with the progress of the stage they are in; runs the server does not know are left out."""
        ...

    def cancel_run(self, flow_run_id: str) -> None:
        """Cancels a run that is not over."""
        ...


class FlowServer(RunEnder, Protocol):
    """Resumes, starts and watches flow runs. Every method raises ServerError if the server does not answer."""

    def start_turn(
        self, flywheel: Flywheel, character: str, recipe: str | None, *, beside_open_turn: bool = False
    ) -> RunStatus:
        """Schedules a turn and returns its run; it ends at once if another one is open, unless it may be beside that."""
        ...

    def start_order(self, order: str) -> str:
        """The run that carries out an order: the one it has, or a new one. Its id."""
        ...

    def run_address(self, flow_run_id: str) -> str | None:
        """The address of a run's page in the server's own interface, for a link."""
        ...


def deleted_run(flow_run_id: str) -> RunStatus:
    """The status of a run that the server does not know."""
    return RunStatus(
        flow_run=flow_run_id,
        state=DELETED,
        name="Deleted",
        message="Prefect does not know this run any more. Its turn can be ended; what was decided is kept.",
    )
