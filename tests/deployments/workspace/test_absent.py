"""Runs of machines that are gone go on elsewhere, once; those of machines that live, and of nobody knows whom, are let alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kit.prefect_server import PrefectServer, serve
from deployments.prefect.api import INTERACTIVE_QUEUE
from deployments.prefect.orders import ensure_pool
from deployments.workspace.absent import NEVER_BEGUN_SECONDS, Watch, take_back

pytestmark = pytest.mark.slow
LEASE = 60.0


class Clock:
    """Time that passes when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, prefect_database: Path) -> Iterator[PrefectServer]:
    with serve(tmp_path_factory.mktemp("server"), database=prefect_database) as found:
        ensure_pool(found.api, "gpu-24")
        flow = found.made("/flows/", {"name": "turn"})
        body = {"name": "turn", "flow_id": flow, "work_pool_name": "gpu-24", "enforce_parameter_schema": False}
        found.deployment = found.made("/deployments/", {**body, "work_queue_name": "default"})
        yield found


def beat(server: PrefectServer, worker: str) -> None:
    server.api.call("POST", "/work_pools/gpu-24/workers/heartbeat", {"name": worker})


def taken(server: PrefectServer, worker: str | None, state: str = "RUNNING") -> str:
    run = server.api.start("turn/turn", {}).id
    assert server.api.set_state(run, state, state.title(), force=True) == "ACCEPT"
    if worker is not None:
        server.api.call("PATCH", f"/flow_runs/{run}/labels", {"prefect.worker.name": worker})
    return run


def state(server: PrefectServer, run: str) -> str:
    found = server.api.run(run).state
    assert found is not None
    return found.type


def test_a_silent_machine_loses_its_runs_and_a_living_one_keeps_them(server: PrefectServer) -> None:
    clock = Clock()
    watch = Watch(clock)
    beat(server, "gone")
    beat(server, "lives")
    lost, kept = taken(server, "gone"), taken(server, "lives")
    cancelled = taken(server, "gone")
    server.api.cancel(cancelled)
    for _ in range(2):
        assert take_back(server.api, watch, LEASE) == []
        clock.now += LEASE / 2 - 1
        beat(server, "lives")
    clock.now += LEASE / 2
    lines = take_back(server.api, watch, LEASE)
    assert len(lines) == 2 and all("gone has been silent for" in line for line in lines)
    assert (state(server, lost), state(server, kept), state(server, cancelled)) == ("SCHEDULED", "RUNNING", "CANCELLED")
    assert take_back(server.api, watch, LEASE) == [], "once"


def test_time_in_which_the_server_was_away_does_not_count(server: PrefectServer) -> None:
    clock = Clock()
    watch = Watch(clock)
    beat(server, "cut-off")
    run = taken(server, "cut-off")
    take_back(server.api, watch, LEASE)
    clock.now += 10 * LEASE
    watch.forget()  # what the keeper does when a look failed
    assert take_back(server.api, watch, LEASE) == [] and state(server, run) == "RUNNING"
    clock.now += LEASE + 1
    assert any(run in line for line in take_back(server.api, watch, LEASE))


def test_a_run_that_was_taken_over_in_between_is_not_touched(server: PrefectServer) -> None:
    clock = Clock()
    watch = Watch(clock)
    beat(server, "slow")
    run = taken(server, "slow")
    take_back(server.api, watch, LEASE)
    clock.now += LEASE + 1
    server.api.call("PATCH", f"/flow_runs/{run}/labels", {"prefect.worker.name": "other"})
    beat(server, "other")
    assert take_back(server.api, watch, LEASE) == [] and state(server, run) == "RUNNING"


def test_a_run_without_a_name_waits_longer_and_one_of_a_forgotten_worker_as_long(server: PrefectServer) -> None:
    clock = Clock()
    watch = Watch(clock)
    nameless, forgotten = taken(server, None, "PENDING"), taken(server, "nobody-knows-it")
    take_back(server.api, watch, LEASE)
    clock.now += LEASE + 1
    (line,) = [line for line in take_back(server.api, watch, LEASE) if nameless in line or forgotten in line]
    assert forgotten in line and state(server, nameless) == "PENDING"
    clock.now += NEVER_BEGUN_SECONDS
    take_back(server.api, watch, LEASE)
    assert state(server, nameless) == "SCHEDULED"


def test_what_a_person_starts_waits_in_the_queue_that_goes_first(server: PrefectServer) -> None:
    run = server.api.call("GET", f"/flow_runs/{server.api.start('turn/turn', {}).id}")
    assert isinstance(run, dict) and run["work_queue_name"] == INTERACTIVE_QUEUE
    queues = server.api.call("POST", "/work_pools/gpu-24/queues/filter", {})
    assert isinstance(queues, list)
    priorities = {queue["name"]: queue["priority"] for queue in queues if isinstance(queue, dict)}
    # Shares go before all: their training waits for them, with its card.
    assert priorities == {"shares": 1, INTERACTIVE_QUEUE: 2, "default": 3, "orders": 4}
    server.api.call("PATCH", "/work_pools/gpu-24/queues/default", {"priority": 1})
    ensure_pool(server.api, "gpu-24")
    queue = server.api.call("GET", "/work_pools/gpu-24/queues/default")
    assert isinstance(queue, dict) and queue["priority"] == 1, "what a person set stays"


def test_all_runs_are_looked_at_however_many(server: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.prefect.api.PAGE", 2)
    runs = {taken(server, "lives", "PENDING") for _ in range(5)}
    assert runs <= {run.id for run in server.api.every_run(["PENDING"])}


def test_the_watch_counts_from_when_it_first_saw_a_state() -> None:
    clock = Clock()
    watch = Watch(clock)
    assert watch.unchanged_seconds("w", "a") == 0
    clock.now += 5
    assert watch.unchanged_seconds("w", "a") == 5
    assert watch.unchanged_seconds("w", "b") == 0
    clock.now += 1
    watch.keep({"v"})
    assert watch.unchanged_seconds("w", "b") == 0
