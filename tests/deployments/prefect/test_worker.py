"""Prefect's worker as this program runs it: with a limit that does not end it, and fair among characters, on a real server."""

import gc
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.states import Completed, Running
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult
from prefect.workers.process import ProcessWorker

from benchmarks.kit.prefect_server import PrefectServer, serve
from deployments.prefect.affinity import PATIENCE_SECONDS, ModelsHere
from deployments.prefect.api import PAGE
from deployments.prefect.worker import limited_and_fair
from flenwheel_core.base.ids import Json
from flenwheel_core.base.settings import Settings
from flenwheel_core.models.hub import repository_folder

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


def test_a_share_goes_to_the_worker_of_its_slot_beside_all_that_it_works_at() -> None:
    class Nobody:
        async def read_flow_runs(self, **asked: object) -> list[object]:
            return []

    class Taking:
        _work_pool_name = "pool"
        client = Nobody()

        async def _submit_scheduled_flow_runs(self, entries: list[Any]) -> list[object]:
            taken = []
            for entry in entries:
                with suppress(anyio.WouldBlock):
                    self._limiter.acquire_on_behalf_of_nowait(entry.flow_run.id)  # type: ignore[attr-defined]
                    taken.append(entry.flow_run)
            return taken

    limited_and_fair(Taking, slot="rack-1:0")

    def run(number: int, **parameters: object) -> SimpleNamespace:
        return SimpleNamespace(
            flow_run=SimpleNamespace(id=number, parameters=parameters, deployment_id="d"), work_queue_id="q"
        )

    turns = [run(number, character="mira") for number in range(1, 4)]
    shares = [
        run(10, attempt="a", slot="rack-1:0"),
        run(11, attempt="a", slot="rack-2:0"),
        run(12, attempt="b", slot="rack-1:0"),
    ]

    async def offer() -> None:
        worker: Any = Taking()
        worker._limiter = limiter = anyio.CapacityLimiter(2)

        async def takes(*runs: SimpleNamespace) -> list[int]:
            return [one.id for one in await worker._submit_scheduled_flow_runs(list(runs))]

        assert await takes(*turns) == [1, 2]
        assert await takes(*shares[:2], turns[2]) == [10], "though both places are taken"
        assert await takes(*shares, turns[2]) == [12]
        limiter.release_on_behalf_of(10)
        assert await takes(turns[2]) == [], "a share leaves no place for others"
        limiter.release_on_behalf_of(1)
        assert await takes(turns[2]) == [3]
        limiter.release_on_behalf_of(12)
        assert await takes() == [] and limiter.total_tokens == 2

    anyio.run(offer)


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
def server(tmp_path_factory: pytest.TempPathFactory, prefect_database: Path) -> Iterator[PrefectServer]:
    with serve(tmp_path_factory.mktemp("server"), database=prefect_database) as found:
        told = {PREFECT_API_URL: f"{found.url}/api", PREFECT_LOGGING_TO_API_ENABLED: False}
        with temporary_settings(told):
            yield found


def schedule(server: PrefectServer, pool: str, *characters: str, waited_seconds: float = 0) -> str:
    """Runs that wait in a pool of their own, the first one longest. Returns their deployment."""
    flow = server.made("/flows/", {"name": pool})
    server.api.call("POST", "/work_pools/", {"name": pool, "type": "instant"})
    body: Json = {"name": pool, "flow_id": flow, "work_pool_name": pool, "enforce_parameter_schema": False}
    deployment = server.made("/deployments/", body)
    schedule_more(server, deployment, *characters, waited_seconds=waited_seconds)
    return deployment


def schedule_more(server: PrefectServer, deployment: str, *characters: str, waited_seconds: float = 0) -> None:
    for character in characters:
        since = datetime.now(UTC) - timedelta(seconds=waited_seconds)
        details: Json = {"scheduled_time": since.isoformat()}
        state: Json = {"type": "SCHEDULED", "name": "Scheduled", "state_details": details}
        run: Json = {"parameters": {"character": character}, "state": state}
        server.api.call("POST", f"/deployments/{deployment}/create_flow_run", run)


def taken(server: PrefectServer, pool: str, kind: type[Instant], *, workers: int = 1, at_least: int) -> list[str]:
    """Characters in the order in which their runs began, until so many have."""
    return [character for character, _ in taken_by(server, pool, [kind] * workers, at_least=at_least)]


def taken_by(
    server: PrefectServer, pool: str, kinds: Sequence[type[Instant]], *, at_least: int
) -> list[tuple[str, str]]:
    """And which of several workers took each."""

    def begun() -> list[tuple[str, str]]:
        body: Json = {
            "work_pools": {"name": {"any_": [pool]}},
            "flow_runs": {"start_time": {"is_null_": False}},
            "sort": "START_TIME_ASC",
        }
        found = cast("list[dict[str, Any]]", server.api.call("POST", "/flow_runs/filter", body))
        return [(run["parameters"]["character"], str(run["labels"].get("prefect.worker.name"))) for run in found]

    async def work(kind: type[Instant], name: str) -> None:
        async with kind(work_pool_name=pool, name=name, limit=1, create_pool_if_not_found=False) as worker:
            while len(await anyio.to_thread.run_sync(begun)) < at_least:
                await worker.sync_with_backend()
                await worker.get_and_submit_flow_runs()
                await anyio.sleep(0.1)

    async def all_work() -> None:
        async with anyio.create_task_group() as group:
            for number, kind in enumerate(kinds):
                group.start_soon(work, kind, f"worker-{number}")

    anyio.run(all_work)
    # A worker that ends on a busy machine may leave its connection to the server open; whichever test came next would be blamed for it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
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


class Having(ModelsHere):
    """A machine that has the models of one character's recipe: a folder of weights as the Hub's client keeps it."""

    def __init__(self, root: Path, character: str, characters: Sequence[str]) -> None:
        super().__init__(Settings(workspace=root / character, models=root / character / "models", gpu="cpu"))
        self.recipes = {name: recipe_on_the_hub(root, name) for name in characters}
        snapshot = repository_folder(f"studio/{character}", self._settings) / "snapshots" / COMMIT
        snapshot.mkdir(parents=True)
        receipt = snapshot.parent.parent / "flenwheel" / f"{COMMIT}.json"
        receipt.parent.mkdir()
        receipt.write_text("[]")

    def has(self, parameters: Mapping[str, object]) -> bool:
        return super().has({**parameters, "recipe": self.recipes[str(parameters["character"])]})


COMMIT = "0" * 40


def recipe_on_the_hub(root: Path, character: str) -> str:
    path = root / f"{character}.toml"
    path.write_text(f'extends = "nano"\n[models]\nbase = "studio/{character}@{COMMIT}"\n')
    return str(path)


def machines_with(root: Path, *characters: str) -> list[type[Instant]]:
    """A worker for each character, on a machine that has this one's models and no other's."""
    kinds = []
    for character in characters:
        kind = type(f"Of{character}", (Instant,), {"type": f"of-{character}"})
        limited_and_fair(kind, Having(root, character, characters))
        kinds.append(kind)
    return kinds


@pytest.mark.slow
def test_a_worker_takes_what_lies_on_its_machine(server: PrefectServer, tmp_path: Path) -> None:
    """Fails without affinity: by age alone, the first worker takes a run of each character."""
    mira, nora = machines_with(tmp_path, "mira", "nora")
    schedule(server, "near", "nora", "mira", "nora", "mira", "nora", "mira")
    assert taken_by(server, "near", [mira], at_least=1)[0][0] == "mira"
    later = taken_by(server, "near", [mira, nora], at_least=3)[1:]
    assert dict(later[:2]) == {"mira": "worker-0", "nora": "worker-1"}


@pytest.mark.slow
def test_who_has_waited_for_long_is_taken_by_anybody(server: PrefectServer, tmp_path: Path) -> None:
    mira, _ = machines_with(tmp_path, "mira", "nora")
    deployment = schedule(server, "far", "nora", waited_seconds=PATIENCE_SECONDS + 60)
    schedule_more(server, deployment, "mira", "mira")
    assert taken(server, "far", mira, at_least=2)[:2] == ["nora", "mira"]
