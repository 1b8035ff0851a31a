"""Each duty of a server is its own: what is damaged in the store, or slow, keeps no machine's silence from being noticed."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.kit.workspace import wait_for
from deployments.prefect.api import FlowRun, PrefectApi
from deployments.workspace.absent import Watch
from deployments.workspace.keeping import Keeper
from deployments.workspace.server_duties import server_duties, watch_machines
from flenwheel_core.base.errors import NotFoundError, ServerError
from flenwheel_core.base.ids import Json
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.orders import OrderPicture, TrainOrder
from flenwheel_core.gates.session import Reviews
from flenwheel_core.library.orders import Orders
from flenwheel_core.store import Store
from tests.kit.gate_world import open_gate

LEASE = 60.0


class Server(PrefectApi):
    """One run at work, on a machine whose heart has stopped."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.taken: list[str] = []
        self.waits = threading.Event()
        self.waits.set()

    def heartbeats(self) -> dict[str, str]:
        if self.failure is not None:
            raise self.failure
        return {"rack-1": "a moment of long ago"}

    def every_run(self, states: Sequence[str]) -> list[FlowRun]:
        return [self.run("lost")]

    def run(self, id_: str) -> FlowRun:
        facts = {"id": id_, "name": id_, "state": {"type": "RUNNING", "name": "Running"}, "work_pool_name": "gpu"}
        return FlowRun.model_validate(facts | {"labels": {"prefect.worker.name": "rack-1"}})

    def runs(self, *, states: Sequence[str] = (), ids: Sequence[str] = (), limit: int = 200) -> list[FlowRun]:
        assert self.waits.wait(240)
        return []

    def start(self, deployment: str, parameters: dict[str, Json], *, idempotency_key: str | None = None) -> FlowRun:
        return self.run(f"run of {parameters['order']}")

    def set_state(self, id_: str, type_: str, name: str, message: str = "", *, force: bool = False) -> str:
        self.taken.append(id_)
        return "ACCEPT"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def damaged(tmp_path: Path) -> Settings:
    """A workspace with an old gate and an order that cannot be read, and an answer that is to be handed over."""
    settings = Settings.model_validate(
        {"workspace": tmp_path, "store": (tmp_path / "store").as_uri(), "lease_seconds": LEASE}
    )
    store = Store(settings.store_url)
    reviews = Reviews(store)
    first = open_gate(store, 2, side=16, flow_run="waits")
    reviews.open(first.model_copy(update={"gate": "mira-old-gate-a-r1", "flow_run": "old"}))
    for gate in (first.gate, "mira-old-gate-a-r1"):
        reviews.close(gate, "approve", "leave_out", override_minimum=True, reviewer="ana")
    store.files.write("documents/reviews/mira-old-gate-a-r1/session.json", b"{")
    picture = (OrderPicture(image="a" * 64),)
    Orders(store).accept(
        TrainOrder(id="a2", trigger="ohwx", class_word="cat", kind="subject", recipe="nano", pictures=picture)
    )
    store.files.write("documents/orders/a1/order.json", b"{")
    store.files.write("documents/orders/a1/run.json", b"{")
    return settings


def look(keeper: Keeper) -> None:
    for duty in keeper.duties:
        duty.done_at = -1e9
    keeper.tend()
    wait_for(lambda: not any(duty.busy for duty in keeper.duties), 240, lambda: "a duty is still at it")


def test_a_dead_machine_is_noticed_whatever_is_damaged_in_the_store(damaged: Settings) -> None:
    said: list[str] = []
    clock, server, keeper = Clock(), Server(), Keeper(said.append)
    keeper.duties += server_duties(damaged, server, Watch(clock), lambda what, seconds: True)
    for _ in range(4):
        look(keeper)
        clock.now += LEASE / 2
    assert server.taken == ["lost"], said
    assert "order a2: handed over (run of a2)" in said, "one damaged order keeps no other one back"
    for name in ("mira-old-gate-a-r1", "a1"):
        assert len([line for line in said if name in line and "cannot be read" in line]) == 1, said


def test_a_slow_look_for_answers_holds_nothing_up(damaged: Settings) -> None:
    server, keeper, clock = Server(), Keeper(lambda line: None), Clock()
    server.waits.clear()
    keeper.duties += server_duties(damaged, server, Watch(clock), lambda what, seconds: True)
    try:
        for _ in range(4):
            for duty in keeper.duties:
                duty.done_at = -1e9
            keeper.tend()
            clock.now += LEASE / 2
        assert server.taken == ["lost"] and keeper.duties[1].busy
    finally:
        server.waits.set()
    wait_for(lambda: not any(duty.busy for duty in keeper.duties), 240, lambda: "a duty is still at it")


def test_only_the_servers_own_silence_is_no_machines() -> None:
    clock, server = Clock(), Server()
    watch = Watch(clock)
    watch_machines(server, watch, LEASE, lambda: True)
    clock.now += LEASE + 1
    server.failure = NotFoundError("A run was deleted a moment ago.")
    with pytest.raises(NotFoundError):
        watch_machines(server, watch, LEASE, lambda: True)
    server.failure = None
    assert len(watch_machines(server, watch, LEASE, lambda: True)) == 1
    server.taken.clear()
    server.failure = ServerError("The Prefect server does not answer.")
    with pytest.raises(ServerError):
        watch_machines(server, watch, LEASE, lambda: True)
    server.failure = None
    assert watch_machines(server, watch, LEASE, lambda: True) == [] and server.taken == []
