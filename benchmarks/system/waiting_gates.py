"""What a waiting gate weighs in the Prefect server's database: `python -m benchmarks.system.waiting_gates`.

A real server on SQLite, as `flenwheel up` starts it. Runs are begun, say ten times how far they are, as a stage does, and suspend.
The database grows by what they leave; nothing else writes. Stages of a real turn before the gate leave as much again, each.
"""

import argparse
import sqlite3
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.kit.prefect_server import serve
from benchmarks.result_file import RESULTS, Row, write_result
from benchmarks.system.server_answers import STEPS, Load
from flenwheel_core.base.ids import Json

GATES = 200
SETTLE_SECONDS = 10.0
"""The server writes down events a little after what they tell of."""


def measure(folder: Path, gates: int) -> Row:
    """The row: bytes a gate, and how fast one is suspended."""
    with serve(folder) as server, httpx.Client(base_url=f"{server.url}/api", timeout=60) as client:
        server.furnish()
        load = Load(f"{server.url}/api", server.deployment)
        suspend(load, client, 10)  # tables and indices have their first pages
        time.sleep(SETTLE_SECONDS)
        before, began = database_bytes(folder), time.monotonic()
        suspend(load, client, gates)
        seconds = time.monotonic() - began
        time.sleep(SETTLE_SECONDS)
        grown = database_bytes(folder) - before
    return {
        "case": "suspended_run",
        "gates": gates,
        "progress_a_gate": STEPS,
        "database_bytes_a_gate": grown / gates,
        "seconds_a_gate": seconds / gates,
    }


def suspend(load: Load, client: httpx.Client, gates: int) -> None:
    """So many runs, begun and suspended."""
    for _ in range(gates):
        body: Json = {"parameters": {}, "state": {"type": "SCHEDULED", "name": "Scheduled"}}
        run = str(load.send(client, "POST", f"/deployments/{load.deployment}/create_flow_run", body).json()["id"])
        load.enter(client, run, "PENDING")
        load.enter(client, run, "RUNNING")
        for step in range(STEPS):
            load.tell(client, run, step)
        paused: Json = {"state": {"type": "PAUSED", "name": "Suspended"}, "force": True}
        answer = load.send(client, "POST", f"/flow_runs/{run}/set_state", paused)
        assert answer.json()["status"] == "ACCEPT", answer.text


def database_bytes(folder: Path) -> int:
    """Of the server's SQLite file, with what still stands in its journal."""
    [file] = folder.rglob("*.db")
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
        [pages], [size] = (database.execute(f"PRAGMA {what}").fetchone() for what in ("page_count", "page_size"))
    return int(pages) * int(size)


def main() -> None:
    """Measures, and writes results/waiting_gates.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gates", type=int, default=GATES, help="how many wait")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flenwheel-gates-") as folder:
        row = measure(Path(folder), arguments.gates)
    print(row, flush=True)
    print(write_result("waiting_gates", [row], folder=arguments.out))


if __name__ == "__main__":
    main()
