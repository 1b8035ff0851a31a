"""Doors of `first_contact` that are commands: each input is laid down as files, a command is given them, and its words are judged."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.system.first_contact import Answer, Input, Room, command_fault

Lay = Callable[[Path, Input], Sequence[str]]
"""Writes an input into an empty folder, and gives the command's arguments."""
Judge = Callable[[Input, str, int], Answer]
"""What became of an input, by what the command said and its exit code. Stack traces and hangs are found before."""


@dataclass
class Command:
    """A command, in this process or in one of its own."""

    room: Room
    name: str
    lay: Lay
    judge: Judge
    every: int = 1
    own_process: bool = False

    def give(self, inputs: Sequence[Input]) -> Sequence[Answer]:
        return [self._one(one) for one in inputs]

    def _one(self, one: Input) -> Answer:
        folder = self.room.folder / "laid"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        arguments = self.lay(folder, one)
        run = self.room.command if self.own_process else self.room.command_here
        done: subprocess.CompletedProcess[str] | None = run(*arguments, folder=folder)
        fault = command_fault(done)
        if fault is not None or done is None:
            return fault or Answer("hang")
        return self.judge(one, done.stdout + done.stderr, done.returncode)


def both(room: Room, name: str, lay: Lay, judge: Judge) -> tuple[Command, Command]:
    """A command in this process for every input, and in a process of its own for some."""
    return (
        Command(room, name, lay, judge),
        Command(room, f"{name}, process", lay, judge, every=0, own_process=True),
    )


def refused_in_words(said: str) -> bool:
    """True for an error as this program says it."""
    return "error:" in said and len(said.strip()) > len("error:")
