"""Prefect's worker as this program runs it: with a limit that does not end it, and fair among characters, on a real server."""

import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.states import Completed, Running
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult
from prefect.workers.process import ProcessWorker

from benchmarks.kit.prefect_server import PrefectServer, serve
from deployments.prefect.api import PAGE
from deployments.prefect.worker import limited_and_fair
from flenwheel_core.base.ids import Json

Worker = BaseWorker[BaseJobConfiguration, BaseVariables, BaseWorkerResult]


def offered_again(kind: type[ProcessWorker]) -> list[object]:
    """What a worker with two places does with a run that holds one of them."""

    async def offer() -> list[object]:
        worker = kind.__new__(kind)
        worker._submitting_flow_run_ids = set()
        worker._limiter = anyio.CapacityLimiter(2)
        run = SimpleNamespace(id=uuid.uuid4())
        worker._limiter.acquire_on_behalf_of_nowait(run.id)
        return list(await worker._submit_scheduled_flow_runs([SimpleNamespace(flow_run=run)]))  # type: ignore[list-item]

    return anyio.run(offer)


def test_it_is_left_until_its_process_has_ended() -> None:
    class Patient(ProcessWorker):
        type = "patient"

    limited_and_fair(Patient)
    assert offered_again(Patient) == []


def test_prefects_own_worker_would_end() -> None:
    """When this fails, `deployments/prefect/worker.py` has had one of its days."""
    with pytest.raises(RuntimeError, match="already holding"):
        offered_again(ProcessWorker)


def test_a_worker_puts_as_many_in_order_as_it_has_places_for() -> None:
    offered: list[int] = []

    class Nobody:
        async def read_flow_runs(self, **asked: object) -> list[object]:
            return []

    class Counting:
        _work_pool_name = "pool"
        client = Nobody()

        async def _submit_scheduled_flow_runs(self, entries: list[object]) -> list[object]:
            offered.append(len(entries))
            return []

    limited_and_fair(Counting)

    async def offer(places: int | None) -> None:
        worker: Any = Counting()
        worker._limiter = None if places is None else anyio.CapacityLimiter(places)
        runs = [
            SimpleNamespace(id=number, parameters={"character": f"c{number}"}, deployment_id="d") for number in range(9)
        ]
        await worker._submit_scheduled_flow_runs([SimpleNamespace(flow_run=run, work_queue_id="q") for run in runs])

    anyio.run(offer, 2)
    anyio.run(offer, None)
    assert offered == [2, 9]


class Instant(Worker):
    """A worker whose runs do nothing for a moment; all else of it is Prefect's own."""

    type = "instant"

    async def run(
        self, flow_run: Any, configuration: BaseJobConfiguration, task_status: Any = None
    ) -> BaseWorkerResult:
        if task_status is not None:
            task_status.started("1")
        await self.client.set_flow_run_state(flow_run.id, Running(), force=True)
        await anyio.sleep(0.3)
        await self.client.set_flow_run_state(flow_run.id, Completed(), force=True)
        return BaseWorkerResult(identifier="1", status_code=0)


class FairInstant(Instant):
    type = "fair-instant"


limited_and_fair(FairInstant)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with serve(tmp_path_factory.mktemp("server")) as found:
        told = {PREFECT_API_URL: f"{found.url}/api", PREFECT_LOGGING_TO_API_ENABLED: False}
        with temporary_settings(told):
            yield found


def schedule(server: PrefectServer, pool: str, *characters: str) -> None:
    """Runs that wait in a pool of their own, the first one longest."""
    flow = server.made("/flows/", {"name": pool})
    server.api.call("POST", "/work_pools/", {"name": pool, "type": "instant"})
    body: Json = {"name": pool, "flow_id": flow, "work_pool_name": pool, "enforce_parameter_schema": False}
    deployment = server.made("/deployments/", body)
    for character in characters:
        run: Json = {"parameters": {"character": character}, "state": {"type": "SCHEDULED", "name": "Scheduled"}}
        server.api.call("POST", f"/deployments/{deployment}/create_flow_run", run)


def taken(server: PrefectServer, pool: str, kind: type[Instant], *, workers: int = 1, at_least: int) -> list[str]:
    """Characters in the order in which their runs began, until so many have."""

    def begun() -> list[str]:
        body: Json = {
            "work_pools": {"name": {"any_": [pool]}},
            "flow_runs": {"start_time": {"is_null_": False}},
            "sort": "START_TIME_ASC",
        }
        found = cast("list[dict[str, Any]]", server.api.call("POST", "/flow_runs/filter", body))
        return [run["parameters"]["character"] for run in found]

    async def work(name: str) -> None:
        async with kind(work_pool_name=pool, name=name, limit=1, create_pool_if_not_found=False) as worker:
            while len(await anyio.to_thread.run_sync(begun)) < at_least:
                await worker.sync_with_backend()
                await worker.get_and_submit_flow_runs()
                await anyio.sleep(0.1)

    async def all_work() -> None:
        async with anyio.create_task_group() as group:
            for number in range(workers):
                group.start_soon(work, f"worker-{number}")

    anyio.run(all_work)
    return begun()


@pytest.mark.slow
def test_characters_take_turns_at_one_worker(server: PrefectServer) -> None:
    schedule(server, "one", *["mira"] * 8, "nora", "nora", "zoe")
    assert taken(server, "one", FairInstant, at_least=6)[:6] == ["mira", "nora", "zoe", "mira", "nora", "mira"]


@pytest.mark.slow
def test_prefects_own_worker_would_serve_one_first(server: PrefectServer) -> None:
    schedule(server, "own", *["mira"] * 4, "nora")
    assert taken(server, "own", Instant, at_least=4)[:4] == ["mira"] * 4


@pytest.mark.slow
def test_several_workers_share_by_what_works_elsewhere(server: PrefectServer) -> None:
    schedule(server, "two", *["mira"] * 10, "nora", "zoe")
    assert {"nora", "zoe"} <= set(taken(server, "two", FairInstant, workers=2, at_least=6)[:6])


@pytest.mark.slow
def test_nobody_is_hidden_behind_a_page_that_one_character_fills(server: PrefectServer) -> None:
    schedule(server, "full", *["mira"] * (PAGE + 1), "nora")
    assert taken(server, "full", FairInstant, at_least=2)[:2] == ["mira", "nora"]
