"""What a studio talks to: a flow server, and the fields of a new character."""

import io

from fastapi.testclient import TestClient
from PIL import Image

from flenwheel_core.base.errors import ServerError
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.gates.flow_server import Flywheel, ResumeResult, RunStatus


class Server:
    """A flow server of one run: suspended, gone, or down."""

    def __init__(self) -> None:
        self.state = "PAUSED"
        self.down = False
        self.starts = 1
        self.deleted = False
        self.resumed: list[ClosedGate] = []
        self.refusal = ""
        self.started: list[str] = []

    def resume_gate(self, flow_run_id: str, outcome: ClosedGate) -> ResumeResult:
        self._answer()
        if self.refusal:
            return ResumeResult(accepted=False, reason=self.refusal)
        self.resumed.append(outcome)
        return ResumeResult(accepted=True)

    def run_statuses(self, flow_run_ids: tuple[str, ...]) -> dict[str, RunStatus]:
        self._answer()
        if self.deleted:
            return {}
        return {
            id_: RunStatus(flow_run=id_, state=self.state, name="Suspended", starts=self.starts) for id_ in flow_run_ids
        }

    def cancel_run(self, flow_run_id: str) -> None:
        self._answer()
        self.state = "CANCELLED"

    def start_turn(
        self, flywheel: Flywheel, character: str, recipe: str | None, *, beside_open_turn: bool = False
    ) -> RunStatus:
        self._answer()
        return RunStatus(flow_run=f"{flywheel}-{character}-{recipe}", state="SCHEDULED", name="Scheduled")

    def start_order(self, order: str) -> str:
        self._answer()
        self.started.append(order)
        return f"00000000-0000-4000-8000-{len(self.started):012d}"

    def run_address(self, flow_run_id: str) -> str | None:
        return f"http://127.0.0.1:4200/{flow_run_id}"

    def _answer(self) -> None:
        if self.down:
            raise ServerError("The Prefect server does not answer.")


FIELDS = {"name": "rex", "trigger": "ohwx_rex", "class_word": "dog", "kind": "subject", "recipe": "nano"}


def given(client: TestClient, colour: str, name: str) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9), colour).save(buffer, "PNG")
    answer = client.post("/api/v1/characters/rex/sources", files={"file": (name, buffer.getvalue())})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["digest"])
