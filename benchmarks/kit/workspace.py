"""A running workspace for tests and benchmarks: a real server, worker and studio, with stand-in stages, in a folder of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from benchmarks.kit.prefect_database import place
from deployments.prefect.api import FlowRun, PrefectApi, open_api
from deployments.prefect.gates import resume_gate, waiting_runs
from flenwheel_core.base.processes import ended_with_parent
from flenwheel_core.base.services import load_services
from flenwheel_core.base.settings import Settings
from flenwheel_core.gates.flow_server import ResumeResult
from flenwheel_core.gates.session import Reviews
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.recipes.loading import find_recipe
from flenwheel_core.requests.ingest import SourceFile
from flenwheel_core.runner.stage_runs import StageRun, stage_runs
from flenwheel_core.store import Store

PROJECT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 150
"""Longer than `up` gives its worker, its studio and its server together."""
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def write_recipe(folder: Path, *, steps: int = 20) -> Path:
    """A recipe like nano's whose models are one tiny folder: the stand-in stages load nothing."""
    model = folder / "model"
    model.mkdir(parents=True, exist_ok=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    text = (
        find_recipe("nano")
        .read_text()
        .replace('"nano"', f'"{model}"', 5 + 1)
        .replace(f'name = "{model}"', 'name = "tiny"')
    )
    for old, new in {
        "steps = 400": f"steps = {steps}\nmin_images = 1\nwarmup_steps = 1",
        "min_epochs = 28.0": "min_epochs = 0.5",
        "checkpoint_every = 100": "checkpoint_every = 5",
        "target_images = 50": "target_images = 12",
        "target_images = 46": "target_images = 8",
        "minimum_enriched = 30": "minimum_enriched = 6",
        "minimum_pristine = 10": "minimum_pristine = 4",
        'verifier = "' + str(model): 'verifier = "face',
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


@dataclass
class Running:
    """A workspace under `flenwheel up`."""

    settings: Settings
    recipe: Path
    stage_seconds: float = 0.0
    patience_seconds: float = 20.0
    """How long one request may go unanswered: less than SQLite makes a writer wait, so that a server that falls silent is seen."""
    code: tuple[Path, ...] = (PROJECT,)
    """Where its processes find the program."""
    database: Path | None = None
    """What its server's empty database is copied from; without it the server makes its own."""
    process: "subprocess.Popen[bytes] | None" = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.settings.root / "up.log"

    @property
    def store(self) -> Store:
        return Store(self.settings.store_url, self.settings.store_options)

    @property
    def api(self) -> PrefectApi:
        return open_api(self.settings, patience_seconds=self.patience_seconds)

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "FLENWHEEL_"))}
        paths = {
            "PYTHONPATH": os.pathsep.join(map(str, self.code)),
            "TURN_STAGES_SECONDS": str(self.stage_seconds),
            "OMP_NUM_THREADS": "1",
        }
        return kept | paths | self.settings.environment()

    def start(self, seconds: float = 600) -> None:
        """`flenwheel up`, until it is ready."""
        self.settings.root.mkdir(parents=True, exist_ok=True)
        place(self.database, self.settings.root)
        with self.log.open("ab") as log:
            began = log.tell()
            command = [sys.executable, "-m", "deployments.cli.app", "up"]
            self.process = subprocess.Popen(
                command,
                env=self.environment(),
                cwd=self.settings.root,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=ended_with_parent(),
            )

        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            return b"Ready." in self.log.read_bytes()[began:]

        wait_for(ready, seconds, lambda: self.log.read_text())

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=STOP_SECONDS)

    def cli(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "deployments.cli.app", *arguments]
        return subprocess.run(
            command, env=self.environment(), cwd=self.settings.root, capture_output=True, text=True, check=False
        )

    def add_character(self, name: str, pictures: int = 10) -> None:
        library = Library(self.store)
        library.create_character(
            Character(name=name, trigger="ohwx_char", class_word="person", kind="person", recipe=str(self.recipe))
        )
        files = tuple(
            SourceFile(name=f"{number}.png", digest=self.store.put_blob(f"{name} {number}".encode()), caption="a photo")
            for number in range(pictures)
        )
        library.add_sources(name, files)

    def schedule(self, character: str) -> str:
        return self.api.start("flywheel-1/turn", {"character": character}).id

    def wait_state(self, run: str, *states: str, seconds: float = 400) -> FlowRun:
        """The run, once its state's type or name is one of these."""
        found: list[FlowRun] = []

        def there() -> bool:
            found[:] = [self.api.run(run)]
            state = found[0].state
            return state is not None and (state.type in states or state.name in states)

        wait_for(there, seconds, lambda: f"{found[0].state} {self.worker_log()}")
        return found[0]

    def worker_log(self) -> str:
        path = self.settings.root / "logs" / "worker.log"
        return path.read_text()[-6000:] if path.exists() else ""

    def wait_gate(self, gate: str, seconds: float = 400) -> FlowRun:
        """The run that waits at this gate."""
        wait_for(lambda: gate in waiting_runs(self.api), seconds, lambda: f"{gate}: {self.worker_log()}")
        return waiting_runs(self.api)[gate]

    def wait_editor_gate(self, run: str, seconds: float = 400) -> str:
        """The gate that this run of Flywheel 2 waits at."""
        found: list[str] = []

        def there() -> bool:
            found[:] = [gate for gate, waiting in waiting_runs(self.api).items() if waiting.id == run]
            return bool(found)

        wait_for(there, seconds, self.worker_log)
        return found[0]

    def answer(self, gate: str, verdict: str = "approve") -> ResumeResult:
        """Answers a gate as the studio does: decisions frozen in the store, then the run resumed."""
        reviews = Reviews(self.store)
        session = reviews.get(gate)
        closed = reviews.close(gate, verdict, "take_passed", override_minimum=False, reviewer="tester")  # type: ignore[arg-type]
        assert session.flow_run is not None
        return resume_gate(self.api, session.flow_run, closed)

    def finish(self, run: str, name: str, seconds: float = 400) -> FlowRun:
        """Approves every gate of a turn until its run ends."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.api.run(run)
            if found.state is not None and found.state.type in FINAL:
                return found
            for gate in waiting_runs(self.api):
                if gate.startswith(f"{name}-"):
                    self.answer(gate)
            time.sleep(0.3)
        raise AssertionError(f"the turn of {name} did not end: {self.worker_log()}")

    def stage_runs(self) -> list[StageRun]:
        return list(stage_runs(self.store).read())

    def service_pids(self) -> dict[str, int]:
        """Process ids of server, worker and studio."""
        assert self.process is not None
        found = {}
        marks = {
            "server": b"deployments.prefect.server",
            "worker": b"prefect\0worker",
            "studio": b"deployments.studio.serve",
        }
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                command = (folder / "cmdline").read_bytes()
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            for name, mark in marks.items():
                if parent == self.process.pid and mark in command:
                    found[name] = int(folder.name)
        return found

    def has_services(self) -> bool:
        return load_services(self.settings) is not None


def wait_for(ready: Callable[[], bool], seconds: float, why: Callable[[], str]) -> None:
    """Returns when it is so; fails with the reason if it does not become so in time."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise AssertionError(why())
        time.sleep(0.4)


def overlaps(runs: list[StageRun], killed: dict[int, datetime]) -> list[tuple[str, str]]:
    """Pairs of GPU stages that held the card at once, by the stages' own records.

    A killed stage, which leaves no end, held it until its kill (`killed`: by process id).
    """
    started: dict[tuple[int, str], StageRun] = {}
    intervals = []
    for line in runs:
        if line.slot is None:
            continue
        key = (line.pid, line.request)
        if line.event == "started":
            started[key] = line
        elif key in started:
            intervals.append((started.pop(key).at, line.at, f"{line.stage} {line.pid}"))
    for (pid, _), line in started.items():
        intervals.append((line.at, killed.get(pid, line.at), f"{line.stage} {pid} killed"))
    intervals.sort()
    return [
        (first[2], second[2])
        for index, first in enumerate(intervals)
        for second in intervals[index + 1 :]
        if second[0] < first[1]
    ]
