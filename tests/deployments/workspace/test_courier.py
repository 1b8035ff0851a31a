"""A look for answers goes by what was answered, never twice for what arrived. That runs hear them: `tests/deployments/test_gates.py`."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from deployments.prefect.api import FlowRun, PrefectApi
from deployments.workspace import courier as module
from deployments.workspace.courier import Courier
from flenwheel_core.base.errors import ServerError
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.gates.flow_server import ResumeResult
from flenwheel_core.gates.session import Reviews
from flenwheel_core.store import Store
from tests.kit.gate_world import open_gate
from tests.kit.s3_server import options_of


class Server(PrefectApi):
    """Knows runs, and remembers for which it was asked."""

    def __init__(self, states: dict[str, tuple[str, str | None]]) -> None:
        self.states = states
        self.asked: list[str] = []

    def runs(self, *, states: Sequence[str] = (), ids: Sequence[str] = (), limit: int = 200) -> list[FlowRun]:
        self.asked += ids
        return [self._run(id_) for id_ in ids if id_ in self.states]

    def _run(self, id_: str) -> FlowRun:
        kind, gate = self.states[id_]
        keys = {"run_input_keyset": {"response": f"suspended-{gate}-1-response"}} if gate else {}
        return FlowRun.model_validate(
            {"id": id_, "name": id_, "state": {"type": kind, "name": kind, "state_details": keys}}
        )


def test_only_answers_that_may_not_have_arrived_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store((tmp_path / "store").as_uri())
    reviews = Reviews(store)
    first = open_gate(store, 2, side=16, flow_run="waits")
    runs = ("works", "passed", "gone", "open")
    for run in runs:
        reviews.open(first.model_copy(update={"gate": f"mira-{run}-gate-a-r1", "flow_run": run}))
    for gate in (first.gate, *(f"mira-{run}-gate-a-r1" for run in runs[:-1])):
        reviews.close(gate, "approve", "leave_out", override_minimum=True, reviewer="ana")
    resumed: list[str] = []

    def resume(api: PrefectApi, run: str, closed: ClosedGate) -> ResumeResult:
        resumed.append(f"{run} {closed.gate}")
        return ResumeResult(accepted=True)

    monkeypatch.setattr(module, "resume_gate", resume)
    server = Server(
        {
            "waits": ("PAUSED", first.gate),
            "works": ("RUNNING", None),
            "passed": ("PAUSED", "mira-passed-gate-b-r1"),
            "open": ("PAUSED", "mira-open-gate-a-r1"),
        }
    )
    courier = Courier(store)
    assert courier.hand_over(server) == [f"{first.gate}: its answer reached the run"]
    assert resumed == [f"waits {first.gate}"] and sorted(server.asked) == ["gone", "passed", "waits", "works"]
    server.asked.clear()
    server.states["waits"] = ("COMPLETED", None)
    assert courier.hand_over(server) == [] and sorted(server.asked) == ["waits", "works"]
    server.asked.clear()
    server.states["works"] = (
        "PAUSED",
        "mira-works-gate-a-r1",
    )  # it had looked for the answer a moment before that was there
    assert courier.hand_over(server) == ["mira-works-gate-a-r1: its answer reached the run"]
    assert server.asked == ["works"]


def test_one_damaged_gate_keeps_no_other_answer_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store((tmp_path / "store").as_uri())
    reviews = Reviews(store)
    first = open_gate(store, 2, side=16, flow_run="waits")
    names = {run: f"{run}-gate-a-r1" for run in ("a-torn", "b-refused", "z-works")}
    for run, gate in names.items():
        reviews.open(first.model_copy(update={"gate": gate, "flow_run": run}))
        reviews.close(gate, "approve", "leave_out", override_minimum=True, reviewer="ana")
    store.files.write(f"documents/reviews/{names['a-torn']}/session.json", b"{")

    def resume(api: PrefectApi, run: str, closed: ClosedGate) -> ResumeResult:
        if run == "b-refused":
            raise ServerError("The Prefect server answered 422 to the resume.")
        return ResumeResult(accepted=True)

    monkeypatch.setattr(module, "resume_gate", resume)
    courier, server = Courier(store), Server({run: ("PAUSED", gate) for run, gate in names.items()})
    torn, refused, works = courier.hand_over(server)
    assert "cannot be read" in torn and "422" in refused and works == "z-works-gate-a-r1: its answer reached the run"
    assert courier.hand_over(server) == [works], "the same is not said at every look"


@pytest.mark.slow
def test_gates_whose_answers_arrived_are_never_read_again(s3_endpoint: str, tmp_path: Path) -> None:
    """A thousand of them would be as many questions at every look."""
    options = options_of(s3_endpoint)
    store = Store(f"s3://flenwheel/{tmp_path.name}", options)
    reviews, first = Reviews(store), open_gate(store, 2, side=16, flow_run="run-0")
    for number in range(1, 4):
        reviews.open(first.model_copy(update={"gate": f"mira-{number}-gate-a-r1", "flow_run": f"run-{number}"}))
    for gate in reviews.gates():
        reviews.close(gate, "approve", "leave_out", override_minimum=True, reviewer="ana")
    asked: list[str] = []
    read, read_many = store.files.read, store.files.read_many

    def one(path: str) -> bytes:
        asked.append(path)
        return read(path)

    def many(paths: Sequence[str]) -> list[bytes]:
        asked.append(f"{len(paths)} at once")
        return read_many(paths)

    courier = Courier(store)
    store.files.read, store.files.read_many = one, many  # type: ignore[method-assign]
    server = Server({"run-0": ("COMPLETED", None), "run-1": ("RUNNING", None)})
    assert courier.hand_over(server) == [] and asked == ["4 at once"]
    assert courier.hand_over(server) == [] and asked == ["4 at once"], "neither those that arrived nor who waits"
