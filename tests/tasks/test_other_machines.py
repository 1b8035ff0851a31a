"""Which machines a training over several takes, and that their slots are granted together, on a real server."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from benchmarks.kit.prefect_server import PrefectServer, serve
from benchmarks.kit.workspace import wait_for
from flenwheel_core.base.errors import ResourceError, RetryableError
from flenwheel_core.base.settings import LIMIT_PREFIX, Settings
from flenwheel_core.library.machines import MachineCard, WorkerCard, keep_card
from flenwheel_core.store import Store
from tasks.other_machines import OtherMachines
from tasks.slot import gpu_slot

pytestmark = pytest.mark.slow

POOL = "several"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, prefect_database: Path) -> Iterator[PrefectServer]:
    with serve(tmp_path_factory.mktemp("server"), database=prefect_database) as found:
        found.api.call("POST", "/work_pools/", {"name": POOL, "type": "process"})
        with temporary_settings({PREFECT_API_URL: f"{found.url}/api", PREFECT_LOGGING_TO_API_ENABLED: False}):
            yield found


def settings_of(folder: Path, name: str, server: PrefectServer) -> Settings:
    return Settings(
        workspace=folder / name,
        machine_name=name,
        gpu="cpu",
        store=(folder / "store").as_uri(),
        server_url=server.url,
        pool=POOL,
        lease_seconds=20,
    )


def there(folder: Path, server: PrefectServer, *names: str, pool: str = POOL) -> None:
    """Machines wrote themselves down, and their slots are known."""
    for name in names:
        card = MachineCard(
            name=name,
            roles=("worker",),
            slots=(f"{name}:cpu",),
            workers=(WorkerCard(name=f"{name}-worker", slots=(f"{name}:cpu",), on_processors=True),),
            pool=pool,
            versions={},
            at=datetime.now(UTC),
        )
        keep_card(Store((folder / "store").as_uri()), card)
        server.api.ensure_limit(f"{LIMIT_PREFIX}{name}:cpu", 1)


@contextmanager
def beating(server: PrefectServer, *names: str) -> Iterator[None]:
    """Workers of these machines beat."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(0.3):
            for name in names:
                body = {"name": f"{name}-worker", "heartbeat_interval_seconds": 1}
                server.api.call("POST", f"/work_pools/{POOL}/workers/heartbeat", body)  # type: ignore[arg-type]

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def active(server: PrefectServer) -> dict[str, int]:
    return {limit.name.removeprefix(LIMIT_PREFIX): limit.active_slots for limit in server.api.limits()}


def test_a_machine_that_works_alone_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="asks for 2 machines, and this one works alone"):
        OtherMachines(Settings(workspace=tmp_path, gpu="cpu"), 1)


def test_machines_that_work_are_taken_free_ones_first(tmp_path: Path, server: PrefectServer) -> None:
    there(tmp_path, server, "a1", "a2", "a3", "a4")
    there(tmp_path, server, "a5", pool="another")
    with beating(server, "a4", "a5"):  # and then no more
        wait_for(lambda: "a4-worker" in server.api.living_workers(POOL), 60, lambda: "no beat")
    with beating(server, "a1", "a2", "a3"), gpu_slot(settings_of(tmp_path, "a2", server), "train", lambda event: None):
        own = settings_of(tmp_path, "a1", server)
        assert OtherMachines(own, 1).chosen() == (("a3:cpu",),)
        assert OtherMachines(own, 2).chosen() == (("a3:cpu",), ("a2:cpu",))
        with pytest.raises(RetryableError, match="asks for 4 machines, and only 3 of the pool several are there"):
            OtherMachines(own, 3).chosen(seconds=6)


def test_all_slots_are_granted_or_none(tmp_path: Path, server: PrefectServer) -> None:
    there(tmp_path, server, "b1", "b2")
    one, two = (settings_of(tmp_path, name, server) for name in ("b1", "b2"))
    got: list[tuple[str, ...]] = []
    waits, leave = threading.Event(), threading.Event()

    def take() -> None:
        with gpu_slot(one, "train", lambda event: waits.set(), machines=2) as slots:
            got.append(slots)
            leave.wait(60)

    with beating(server, "b1", "b2"), ThreadPoolExecutor(1) as pool:
        with gpu_slot(two, "generate", lambda event: None):
            future = pool.submit(copy_context().run, take)
            assert waits.wait(60)
            for _ in range(3):  # nothing is held while it waits
                assert active(server)["b1:cpu"] == 0 and active(server)["b2:cpu"] == 1 and not got
                with gpu_slot(one, "generate", lambda event: None):  # others may work meanwhile
                    assert active(server)["b1:cpu"] == 1
        leave.set()
        future.result(timeout=240)
    assert got == [("b1:cpu", "b2:cpu")]
    assert active(server)["b1:cpu"] == active(server)["b2:cpu"] == 0


def test_two_that_want_each_others_card_both_get_through(tmp_path: Path, server: PrefectServer) -> None:
    there(tmp_path, server, "c1", "c2")

    def work(name: str) -> int:
        done = 0
        for _ in range(3):
            with gpu_slot(settings_of(tmp_path, name, server), "train", lambda event: None, machines=2) as slots:
                assert slots[0] == f"{name}:cpu" and len(slots) == 2
                done += 1
        return done

    with beating(server, "c1", "c2"), ThreadPoolExecutor(2) as pool:
        both = [pool.submit(copy_context().run, work, name) for name in ("c1", "c2")]
        assert [one.result(timeout=240) for one in both] == [3, 3]
    assert active(server)["c1:cpu"] == active(server)["c2:cpu"] == 0
