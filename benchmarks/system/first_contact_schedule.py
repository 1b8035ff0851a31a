"""A schedule that runs every minute for an hour while nobody answers a gate: `python -m benchmarks.system.first_contact_schedule`.

Two characters have a schedule each. The first run of each opens a turn and waits at its gate; every later one must end at once and say so.
Two workers share the store: that of `flenwheel up`, and one with a workspace of its own, as on a second machine. Both are stopped and
started again in turns meanwhile. Stages are stand-ins that compute next to nothing; server, workers and runs are real.

Counted: scheduled times without a run, or whose run neither ended nor waits (`lost`); runs that began a second turn or began again after
their end, and times with two runs (`double`); runs that were marked as crashed (`crashed_by_us`). All are to be zero.
"""

import argparse
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from pydantic import BaseModel, ConfigDict

from benchmarks.kit.workspace import FINAL, Running, write_recipe
from benchmarks.result_file import RESULTS, Row
from benchmarks.system.first_contact_file import merge_rows
from deployments.prefect.api import RunState
from deployments.workspace.environment import service_environment
from deployments.workspace.processes import Child
from flenwheel_core.base.errors import ServerError
from flenwheel_core.base.ids import Json
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Library

NAMES = ("mira", "nora")
DEPLOYMENT = "flywheel-1/turn"
SETTLE_SECONDS = 600.0
"""What the last runs may take to end. The schedules stay on meanwhile: switched off, they would take what is late with them."""
STOP_SECONDS = 100
"""Longer than a worker gives its runs."""
PAGE = 100
TAKEN_UP = ("interrupted by a stop", "never began it")
"""What is said of runs that a stop cut short, or that were taken and not begun, when they are scheduled again."""


class Scheduled(BaseModel):
    """A run that a schedule made."""

    model_config = ConfigDict(extra="ignore")

    id: str
    expected_start_time: datetime
    auto_scheduled: bool
    parameters: dict[str, str | bool | None]
    state: RunState


@dataclass
class Hour:
    """What runs, and what is done to it."""

    running: Running
    second: Settings
    worker: Child | None = None
    restarts: int = 0

    def begin(self, seconds_between: float) -> None:
        """Everything is up, and a schedule of each character is on."""
        self.running.start()
        self._start_second()
        body: list[Json] = []
        for name in NAMES:
            self.running.add_character(name)
            rule: Json = {"interval": seconds_between, "anchor_date": datetime.now(UTC).isoformat(), "timezone": "UTC"}
            body.append({"schedule": rule, "active": True, "parameters": {"character": name}, "slug": f"often-{name}"})
        self.running.api.call("POST", f"/deployments/{self._deployment()}/schedules", cast(Json, body))

    def _deployment(self) -> str:
        return str(cast("dict[str, Json]", self.running.api.call("GET", f"/deployments/name/{DEPLOYMENT}"))["id"])

    def _start_second(self) -> None:
        """The worker of a second machine: a folder of its own, the same store and server."""
        port = int(self.running.api.url.removesuffix("/api").rpartition(":")[2])
        variables = {**self.running.environment(), **service_environment(self.second, port)}
        folder = self.second.root
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "deployments.cli.app", "worker"]
        self.worker = Child("worker", command, variables, folder, folder / "worker.log")
        self.worker.start()

    def restart(self) -> None:
        """Either of the two, in turns. The server may come back at another port, so the second worker is told then."""
        assert self.worker is not None
        if self.restarts % 2 == 0:
            before = self.running.api.url
            self.running.stop()
            self.running.start()
            if self.running.api.url != before:
                self.worker.stop(STOP_SECONDS)
                self._start_second()
        else:
            self.worker.stop(STOP_SECONDS)
            self._start_second()
        self.restarts += 1

    def runs(self) -> list[Scheduled]:
        """All runs of the schedules."""
        found: list[Scheduled] = []
        while True:
            body: dict[str, Json] = {
                "flow_runs": {"deployment_id": {"any_": [self._deployment()]}},
                "sort": "EXPECTED_START_TIME_ASC",
                "limit": PAGE,
                "offset": len(found),
            }
            page = cast("list[Json]", self.running.api.call("POST", "/flow_runs/filter", body))
            found += [Scheduled.model_validate(one) for one in page]
            if len(page) < PAGE:
                return [run for run in found if run.auto_scheduled]

    def settle(self, until: datetime) -> list[Scheduled]:
        """The runs that were due until then, once each has ended or waits."""
        end = time.monotonic() + SETTLE_SECONDS
        while True:
            due = [run for run in self.runs() if run.expected_start_time <= until]
            if all(settled(run) for run in due) or time.monotonic() > end:
                return due
            time.sleep(5)

    def history(self, run: Scheduled) -> list[RunState]:
        """Every state the run was in."""
        found = self.running.api.call("GET", f"/flow_run_states/?flow_run_id={run.id}")
        return [RunState.model_validate(one) for one in cast("list[Json]", found)]

    def end(self) -> None:
        if self.worker is not None:
            self.worker.stop(STOP_SECONDS)
        self.running.stop()


def settled(run: Scheduled) -> bool:
    return run.state.type in FINAL or run.state.type == "PAUSED"


def began_after_its_end(history: list[RunState]) -> bool:
    """True if a run was completed, failed or cancelled and then ran once more."""
    ended = False
    for state in sorted(history, key=lambda one: one.timestamp):
        if ended and state.type == "RUNNING":
            return True
        ended = ended or state.type in ("COMPLETED", "FAILED", "CANCELLED")
    return False


def missing_times(times: list[datetime], first: datetime, last: datetime, seconds_between: float) -> int:
    """How many of the times from first to last have no run."""
    step = timedelta(seconds=seconds_between)
    wanted = [first + step * number for number in range(int((last - first) / step) + 1)]
    tolerance = min(1.0, seconds_between / 4)
    return sum(all(abs((time_ - one).total_seconds()) > tolerance for one in times) for time_ in wanted)


def count(hour: Hour, due: list[Scheduled], until: datetime, seconds_between: float) -> Row:
    """The figures of the result file."""
    times = {name: [run.expected_start_time for run in due if run.parameters["character"] == name] for name in NAMES}
    histories = {run.id: hour.history(run) for run in due}
    lost = sum(not settled(run) for run in due)
    lost += sum(missing_times(found, min(found), until, seconds_between) for found in times.values() if found)
    double = sum(len(found) - len(set(found)) for found in times.values())
    double += sum(began_after_its_end(history) for history in histories.values())
    turns = {name: len(Library(hour.running.store).turns(name)) for name in NAMES}
    double += sum(max(0, number - 1) for number in turns.values())
    crashes = [state for history in histories.values() for state in history if state.type == "CRASHED"]
    interrupted = sum(any(words in (state.message or "") for words in TAKEN_UP) for state in crashes)
    names = [run.state.name for run in due]
    return {
        "case": "schedule_hour",
        "runs": len(due),
        "double": double,
        "lost": lost,
        "crashed_by_us": len(crashes) - interrupted,
        "ended_at_once": names.count("Skipped"),
        "waiting": sum(run.state.type == "PAUSED" for run in due),
        "failed": sum(run.state.type == "FAILED" for run in due),
        "taken_up_again": interrupted,
        "restarts": hour.restarts,
        "workers": 2,
    }


def measure(minutes: float, seconds_between: float, restart_minutes: float, folder: Path) -> Row:
    """Runs the schedules for so long."""
    settings = Settings(
        workspace=folder / "workspace",
        store=f"file://{folder / 'store'}",
        gpu="cpu",
        author="benchmark",
        stage_modules=("benchmarks.kit.turn_stages",),
        models=folder / "models",
    )
    second = settings.model_copy(update={"workspace": folder / "second"})
    running = Running(settings, write_recipe(folder), patience_seconds=120)
    hour = Hour(running, second)
    try:
        hour.begin(seconds_between)
        began = time.monotonic()
        while (passed := time.monotonic() - began) < minutes * 60:
            if passed >= (hour.restarts + 1) * restart_minutes * 60:
                print(f"{passed / 60:.0f} minutes: a restart", flush=True)
                hour.restart()
            time.sleep(1)
        until = datetime.now(UTC)
        due = hour.settle(until)
        for run in due:
            if not settled(run) or run.state.type in ("FAILED", "CRASHED"):
                print(f"{run.id} {run.expected_start_time:%H:%M:%S}: {run.state.name}. {run.state.message}", flush=True)
        row = count(hour, due, until, seconds_between)
    except (AssertionError, ServerError):
        print(running.log.read_text()[-3000:], running.worker_log(), file=sys.stderr)
        raise
    finally:
        hour.end()
    return {**row, "minutes": minutes, "seconds_between": seconds_between}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seconds-between", type=float, default=60, help="of each character's schedule")
    parser.add_argument("--restart-minutes", type=float, default=8, help="time between restarts")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="flenwheel-hour-") as place:
        row = measure(arguments.minutes, arguments.seconds_between, arguments.restart_minutes, Path(place))
    print(row)
    print(merge_rows([row], folder=arguments.out))
    return 1 if any(row[fault] for fault in ("double", "lost", "crashed_by_us")) else 0


if __name__ == "__main__":
    sys.exit(main())
