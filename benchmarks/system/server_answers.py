"""How soon the workspace's Prefect server answers while many runs write to it: `python -m benchmarks.system.server_answers`.

A real server on SQLite, as `flenwheel up` starts it, with schedules. Threads send what the workers and the runs of turns send; two more
ask for its health and for a run, four times a second. Measured twice: as the server is, and as Prefect and the driver have it, without
what deployments/prefect/database.py does.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import httpx

from benchmarks.kit.prefect_server import PrefectServer, serve
from benchmarks.result_file import RESULTS, Row, write_result
from deployments.workspace.environment import POOL
from flenwheel_core.base.ids import Json

RUNS = 8
"""Turns at once."""
WORKERS = 2
SCHEDULES = 3
SCHEDULE_SECONDS = 60
SECONDS = 60.0
"""How long each server is measured."""
POLL_SECONDS = 0.25
STEPS = 10
"""How often a run says how far it is."""
LIMIT = "one-at-a-time"
PATIENCE_SECONDS = 150.0
"""Longer than SQLite lets a writer wait."""
BUSY, TAKEN = 503, 423
ASK_AGAIN_SECONDS = 0.15
SLOT_SECONDS = 1.0
"""How often a run that waits for the slot asks for it."""
AS_THE_DRIVER_HAS_IT = (
    "import gc, sys; from deployments.prefect import database, server; "
    "database.keep_answering = lambda: None; gc.freeze = lambda: None; server.main(sys.argv[1], int(sys.argv[2]))"
)


@dataclass
class Load:
    """What is sent, until `stop`."""

    url: str
    deployment: str
    stop: threading.Event = field(default_factory=threading.Event)
    locked: int = 0
    finished: int = 0
    waits: dict[str, list[float]] = field(default_factory=lambda: {"health": [], "run": []})
    _count: threading.Lock = field(default_factory=threading.Lock)

    def send(self, client: httpx.Client, method: str, path: str, body: Json = None) -> httpx.Response:
        """The answer; asks again while the database is locked, or a connection breaks, as Prefect's clients do."""
        while True:
            try:
                answer = client.request(method, path, json=body)
            except httpx.TransportError:
                continue
            if answer.status_code != BUSY or self.stop.is_set():
                return answer
            with self._count:
                self.locked += 1
            time.sleep(ASK_AGAIN_SECONDS)

    def runs(self, client: httpx.Client) -> None:
        """One run after the other: taken, started, waiting for the slot, at work, done."""
        while not self.stop.is_set():
            body: Json = {"parameters": {}, "state": {"type": "SCHEDULED", "name": "Scheduled"}}
            made = self.send(client, "POST", f"/deployments/{self.deployment}/create_flow_run", body)
            if not made.is_success:
                break
            run = str(made.json()["id"])
            self.send(client, "PATCH", f"/flow_runs/{run}/labels", {"prefect.worker.name": "worker"})
            self.enter(client, run, "PENDING")
            self.enter(client, run, "RUNNING")
            lease = self.take(client, run)
            for step in range(STEPS):
                self.tell(client, run, step)
            if lease is not None:
                self.send(client, "POST", "/v2/concurrency_limits/decrement-with-lease", {"lease_id": lease})
            self.enter(client, run, "COMPLETED")
            with self._count:
                self.finished += 1

    def enter(self, client: httpx.Client, run: str, state: str) -> None:
        body: Json = {"state": {"type": state, "name": state.capitalize()}}
        self.send(client, "POST", f"/flow_runs/{run}/set_state", body)

    def take(self, client: httpx.Client, run: str) -> str | None:
        """The lease on the slot, once it is free."""
        body: Json = {"slots": 1, "names": [LIMIT], "holder": {"type": "flow_run", "id": run}}
        while not self.stop.is_set():
            answer = self.send(client, "POST", "/v2/concurrency_limits/increment-with-lease", body)
            if answer.status_code != TAKEN:
                return str(answer.json()["lease_id"]) if answer.is_success else None
            self.stop.wait(SLOT_SECONDS)
        return None

    def tell(self, client: httpx.Client, run: str, step: int) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line: Json = {"name": "run", "level": 20, "message": f"step {step}", "timestamp": now, "flow_run_id": run}
        self.send(client, "POST", "/logs/", [line])
        progress: Json = {"key": f"train-{run}", "type": "progress", "data": float(step), "flow_run_id": run}
        self.send(client, "POST", "/artifacts/", progress)

    def worker(self, client: httpx.Client, name: str) -> None:
        while not self.stop.wait(1.0):
            self.send(client, "POST", f"/work_pools/{POOL}/workers/heartbeat", {"name": name})
            self.send(client, "POST", f"/work_pools/{POOL}/get_scheduled_flow_runs", {})

    def poll(self, client: httpx.Client, name: str, path: str) -> None:
        while not self.stop.wait(POLL_SECONDS):
            began = time.monotonic()
            self.send(client, "GET", path)
            self.waits[name].append(time.monotonic() - began)


def measure(case: str, seconds: float, command: Sequence[str]) -> list[Row]:
    """The rows of one server."""
    with (
        tempfile.TemporaryDirectory(prefix="flenwheel-answers-") as place,
        serve(Path(place), command=command) as server,
    ):
        server.furnish()
        server.api.ensure_limit(LIMIT, 1)
        server.api.send("POST", "/work_pools/", {"name": POOL, "type": "process"})
        rule: Json = {"interval": SCHEDULE_SECONDS, "anchor_date": "2026-01-01T00:00:00Z"}
        schedules: list[Json] = [{"schedule": rule, "active": True, "parameters": {"n": n}} for n in range(SCHEDULES)]
        server.api.call("POST", f"/deployments/{server.deployment}/schedules", cast(Json, schedules))
        load = Load(f"{server.url}/api", server.deployment)
        _run(load, server, seconds)
        logged = (Path(place) / "server.log").read_text(errors="replace").count("OperationalError) database is locked")
    rows: list[Row] = []
    for name, waits in load.waits.items():
        figures = {**figures_of(waits), "database_locked": load.locked + logged, "runs_finished": load.finished}
        rows.append({"case": f"{name}_{case}", **figures})
        print(rows[-1], flush=True)
    return rows


def _run(load: Load, server: PrefectServer, seconds: float) -> None:
    work: list[Callable[[httpx.Client], None]] = [load.runs] * RUNS
    work += [lambda client, name=f"worker-{n}": load.worker(client, name) for n in range(WORKERS)]  # type: ignore[misc]
    work += [lambda client: load.poll(client, "health", "/health")]
    work += [lambda client: load.poll(client, "run", f"/flow_runs/{server.gate}")]

    def with_client(send: Callable[[httpx.Client], None]) -> None:
        with httpx.Client(base_url=load.url, timeout=PATIENCE_SECONDS) as client:
            send(client)

    threads = [threading.Thread(target=with_client, args=(send,)) for send in work]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    load.stop.set()
    for thread in threads:
        thread.join()


def figures_of(waits: Sequence[float]) -> dict[str, float]:
    """What people ask of waits: the usual one, one in a hundred, the longest."""
    ordered = sorted(waits)
    return {
        "median_ms": statistics.median(ordered) * 1000,
        "p99_ms": ordered[min(len(ordered) - 1, round(len(ordered) * 0.99))] * 1000,
        "longest_seconds": ordered[-1],
        "answers": len(ordered),
    }


def main() -> None:
    """Measures, and writes results/server_answers.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long each server is measured")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()
    rows = measure("as_the_driver_has_it", arguments.seconds, [sys.executable, "-c", AS_THE_DRIVER_HAS_IT])
    rows += measure("now", arguments.seconds, [])
    print(write_result("server_answers", rows, folder=arguments.out))


if __name__ == "__main__":
    main()
