"""What strangers bring, by the thousand: `python -m benchmarks.system.first_contact --part pictures --inputs 3000`.

Damaged and odd inputs, made from seeds, are given to the real doors of the program: the command line in a process of its own, and the
studio's web application. Whatever comes in must be taken or refused in words. Counted, and to be zero: stack traces, answers of 500 and
above, inputs without an answer in time, and inputs that vanish without a word. The exit code is 1 if any was found.

A part is a kind of input with its doors: a module with a class like `Pictures` in `first_contact_pictures`, and a line in PARTS.
"""

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from fastapi.testclient import TestClient

from benchmarks.result_file import RESULTS, Row, write_result
from deployments.studio.app import create_app
from flenwheel_core.base.settings import Settings

PARTS = {
    "pictures": "benchmarks.system.first_contact_pictures:Pictures",
    "bodies": "benchmarks.system.first_contact_bodies:Bodies",
}
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

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str] | None":
        """The command line's answer; None if it did not come in time."""
        environment = {**os.environ, "FLENWHEEL_WORKSPACE": str(self.settings.root), "FLENWHEEL_GPU": "cpu"}
        try:
            return subprocess.run(
                [sys.executable, "-m", "deployments.cli.app", *arguments],
                env={**environment, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
                cwd=self.folder,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None

    def ask(self, method: str, path: str, **content: object) -> Answer:
        """What the studio answers to one request, as an outcome."""
        began = time.monotonic()
        answer = self.studio.request(method, f"/api/v1{path}", **content)  # type: ignore[arg-type]
        if answer.status_code >= 500:
            return Answer("server_error", f"{answer.status_code} {answer.text[:200]}")
        if time.monotonic() - began > ANSWER_SECONDS:
            return Answer("hang", f"{time.monotonic() - began:.0f} s")
        return Answer("taken" if answer.status_code < 400 else "refused")


class Door(Protocol):
    """Where inputs come in. The answers are in the order of the inputs."""

    name: str

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


def measure(name: str, count: int, seed: int, folder: Path) -> list[Row]:
    """A row a door and group of inputs."""
    module, _, kind = PARTS[name].partition(":")
    part: Part = getattr(importlib.import_module(module), kind)()
    inputs = part.inputs(count, seed)
    rows: list[Row] = []
    for door in part.doors(Room(folder)):
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
        for group in dict.fromkeys(each.group for each in inputs):
            outcomes = [answers[n].outcome for n, each in enumerate(inputs) if each.group == group]
            counts = {outcome: outcomes.count(outcome) for outcome in ("taken", "refused")}
            faults = {f"{fault}s": outcomes.count(fault) for fault in FAULTS}
            rows.append({"case": f"{name}, {door.name}: {group}", "inputs": len(outcomes), **counts, **faults})
    return rows


def main() -> int:
    """Measures, and writes results/first_contact_PART.json for each part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=tuple(PARTS), action="append", help="only this part; may be given again")
    parser.add_argument("--inputs", type=int, default=3000, help="inputs of each part")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result files")
    arguments = parser.parse_args()
    rows: list[Row] = []
    for name in arguments.part or PARTS:
        with tempfile.TemporaryDirectory(prefix="first-contact-") as folder:
            measured = measure(name, arguments.inputs, arguments.seed, Path(folder))
        print(write_result(f"first_contact_{name}", measured, folder=arguments.out))
        rows += measured
    found = {fault: sum(int(row[f"{fault}s"] or 0) for row in rows) for fault in FAULTS}
    print(f"{sum(int(row['inputs'] or 0) for row in rows)} given, faults: {found}")
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
