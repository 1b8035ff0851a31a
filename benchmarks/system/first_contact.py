"""What strangers bring, by the thousand: `python -m benchmarks.system.first_contact`, or with `--part pictures --inputs 3000`.

Damaged and odd inputs, made from seeds, are given to the real doors of the program: the command line and the studio's web application.
Whatever comes in must be taken or refused in words. Counted, and to be zero: stack traces, answers of 500 and above, inputs without an
answer in time, and inputs that vanish without a word. The exit code is 1 if any was found.

Most inputs of the command line go through its own entry (`deployments.cli.app.main`) in this one process, because a new process takes a
thousand times as long as most answers; doors called "process" give some of them to a process of its own each (`--processes`).

A part is a kind of input with its doors: a module with a class like `Pictures` in `first_contact_pictures`, and a line in PARTS.
"""

import argparse
import contextlib
import importlib
import io
import itertools
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NoReturn, Protocol

from fastapi.testclient import TestClient

from benchmarks.result_file import RESULTS, Row
from benchmarks.system.first_contact_file import merge_rows
from deployments.cli.app import main as command_line
from deployments.studio.app import create_app
from flenwheel_core.base.settings import Settings

PARTS = {
    "pictures": "benchmarks.system.first_contact_pictures:Pictures",
    "bodies": "benchmarks.system.first_contact_bodies:Bodies",
    "captions": "benchmarks.system.first_contact_captions:Captions",
    "lessons": "benchmarks.system.first_contact_lessons:Lessons",
    "recipes": "benchmarks.system.first_contact_recipes:Recipes",
    "settings": "benchmarks.system.first_contact_settings:SettingsFiles",
    "loras": "benchmarks.system.first_contact_loras:Loras",
}
INPUTS = {
    "pictures": 1200,
    "bodies": 6000,
    "captions": 900,
    "lessons": 500,
    "recipes": 500,
    "settings": 700,
    "loras": 400,
}
"""How many of each are made if nobody says; every door of a part gets them."""
COMMAND_SECONDS = 1800
"""A command that takes longer hangs: it reads hundreds of inputs, on a machine that may do much else."""
ANSWER_SECONDS = 120
"""So does a web request that takes longer."""
FAULTS = ("traceback", "server_error", "hang", "silent_drop")

Outcome = Literal["taken", "refused", "traceback", "server_error", "hang", "silent_drop"]


@dataclass(frozen=True)
class Input:
    """Something a person might bring."""

    name: str
    """File name; may hold any letters, and surrogates for bytes that are none."""
    group: str
    """What was done to it, in two or three words."""
    data: bytes


@dataclass(frozen=True)
class Answer:
    """What became of an input."""

    outcome: Outcome
    detail: str = ""
    """For faults: what was seen."""


class Room:
    """A throw-away workspace with its doors: the command line and the studio."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(workspace=folder / "workspace", gpu="cpu", author="benchmark")
        app = create_app(self.settings, None)
        self.studio = TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)
        self.studio.headers["x-csrf-token"] = str(self.studio.get("/api/v1/session").json()["csrf"])

    def command(self, *arguments: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str] | None":
        """The command line's answer, in a process of its own; None if it did not come in time."""
        environment = {**os.environ, **self._variables()}
        try:
            return subprocess.run(
                [sys.executable, "-m", "deployments.cli.app", *arguments],
                env={**environment, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
                cwd=folder or self.folder,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None

    def command_here(self, *arguments: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str] | None":
        """The same in this process, by the entry that the `flenwheel` command calls."""
        return self.here(lambda: command_line(list(arguments)), folder)

    def here(
        self, call: Callable[[], int | None], folder: Path | None = None
    ) -> "subprocess.CompletedProcess[str] | None":
        """What an entry of the program says and ends with, called in this process; None if it did not end in time."""
        code, said = 0, io.StringIO()
        standing, here = dict(os.environ), Path.cwd()
        os.environ |= self._variables()
        os.chdir(folder or self.folder)
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), _alarm(ANSWER_SECONDS):
                code = call() or 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except _Hangs:
            return None
        except BaseException:
            code = 1
            said.write(traceback.format_exc())
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(standing)
        return subprocess.CompletedProcess((), code, said.getvalue(), "")

    def _variables(self) -> dict[str, str]:
        return {"FLENWHEEL_WORKSPACE": str(self.settings.root), "FLENWHEEL_GPU": "cpu"}

    def ask(self, method: str, path: str, **content: object) -> Answer:
        """What the studio answers to one request, as an outcome."""
        return self.ask_text(method, path, **content)[0]

    def ask_text(self, method: str, path: str, **content: object) -> tuple[Answer, str]:
        """The same, with the answer's text."""
        began = time.monotonic()
        answer = self.studio.request(method, f"/api/v1{path}", **content)  # type: ignore[arg-type]
        if answer.status_code >= 500:
            return Answer("server_error", f"{answer.status_code} {answer.text[:200]}"), answer.text
        if time.monotonic() - began > ANSWER_SECONDS:
            return Answer("hang", f"{time.monotonic() - began:.0f} s"), answer.text
        return Answer("taken" if answer.status_code < 400 else "refused"), answer.text


class _Hangs(BaseException):
    """An answer did not come in time. No mistake of the program's own may hide it."""


@contextlib.contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    def ring(number: int, frame: object) -> NoReturn:
        raise _Hangs

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Door(Protocol):
    """Where inputs come in. The answers are in the order of the inputs."""

    name: str
    every: int
    """It takes one input of so many; 0: only as many as processes are asked for, because each starts one."""

    def give(self, inputs: Sequence[Input]) -> Sequence[Answer]: ...


class Part(Protocol):
    """A kind of input."""

    def inputs(self, count: int, seed: int) -> Sequence[Input]:
        """As many as asked for; the same seed gives the same ones."""

    def doors(self, room: Room) -> Sequence[Door]: ...


def command_fault(done: "subprocess.CompletedProcess[str] | None") -> Answer | None:
    """What is wrong with a command's end, whatever it was given."""
    if done is None:
        return Answer("hang", f"no end in {COMMAND_SECONDS} s")
    said = done.stdout + done.stderr
    if "Traceback" in said or done.returncode not in (0, 1):
        return Answer("traceback", f"exit code {done.returncode}: {said[-600:]}")
    return None


def measure(name: str, count: int, seed: int, processes: int, folder: Path) -> list[Row]:
    """A row a door."""
    module, _, kind = PARTS[name].partition(":")
    part: Part = getattr(importlib.import_module(module), kind)()
    everything = part.inputs(count, seed)
    rows: list[Row] = []
    for door in part.doors(Room(folder)):
        inputs = everything[:: _stride(door.every or max(1, len(everything) // processes), everything)]
        began = time.monotonic()
        answers = door.give(inputs)
        seconds = time.monotonic() - began
        assert len(answers) == len(inputs), f"{door.name} gave {len(answers)} answers to {len(inputs)} inputs"
        print(f"{name}, {door.name}: {len(inputs)} inputs in {seconds:.0f} s", flush=True)
        for number, answer in enumerate(answers):
            if answer.outcome in FAULTS:
                print(
                    f"  {answer.outcome}: {inputs[number].name!r} ({inputs[number].group}): {answer.detail}", flush=True
                )
        outcomes = [answer.outcome for answer in answers]
        counts = {outcome: outcomes.count(outcome) for outcome in ("taken", "refused")}
        faults = {f"{fault}s": outcomes.count(fault) for fault in FAULTS}
        groups = len({each.group for each in inputs})
        case: Row = {"case": f"{name}, {door.name}", "inputs": len(inputs), "kinds_of_damage": groups}
        rows.append({**case, **counts, **faults, "seconds": seconds, "peak_gib": peak_gib()})
    return rows


def _stride(wanted: int, inputs: Sequence[Input]) -> int:
    """Kinds of damage follow one another in turns: a stride that divides their number would meet only some of them."""
    kinds = len({one.group for one in inputs})
    return next(stride for stride in itertools.count(wanted) if math.gcd(stride, kinds) == 1)


def peak_gib() -> float:
    """The most memory that any process of this benchmark held so far, in GiB; this one holds the studio and most commands."""
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return most / 2**20


def main() -> int:
    """Measures each part, and brings its rows in results/first_contact.json up to date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=tuple(PARTS), action="append", help="only this part; may be given again")
    parser.add_argument("--inputs", type=int, help="inputs of each part; see INPUTS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=40, help="commands of each part in a process of their own")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result files")
    arguments = parser.parse_args()
    rows: list[Row] = []
    for name in arguments.part or PARTS:
        with tempfile.TemporaryDirectory(prefix="first-contact-") as folder:
            measured = measure(
                name, arguments.inputs or INPUTS[name], arguments.seed, arguments.processes, Path(folder)
            )
        print(merge_rows(measured, folder=arguments.out, instead=partial(_is_of, name)))
        rows += measured
    found = {fault: sum(int(row[f"{fault}s"] or 0) for row in rows) for fault in FAULTS}
    print(f"{sum(int(row['inputs'] or 0) for row in rows)} given, faults: {found}")
    return 1 if any(found.values()) else 0


def _is_of(part: str, case: str) -> bool:
    return case.startswith(f"{part}, ")


if __name__ == "__main__":
    sys.exit(main())
