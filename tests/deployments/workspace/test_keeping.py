"""What the keeper of a machine's processes tells them, in which order, and what it says of what it could not do."""

import sys
from pathlib import Path

from benchmarks.kit.workspace import wait_for
from deployments.workspace.keeping import Duty, Keeper
from deployments.workspace.processes import Child
from flenwheel_core.base.errors import ServerError

ENDS_AFTER = """
import pathlib, signal, sys, time
own, *others = map(pathlib.Path, sys.argv[1:])

def told(*_):
    own.with_suffix(".told").touch()
    while not all(other.exists() for other in others):
        time.sleep(0.02)
    own.with_suffix(".done").touch()
    sys.exit()

signal.signal(signal.SIGTERM, told)
own.with_suffix(".up").touch()
while True:
    signal.pause()
"""
"""A process that ends by itself once it was told to and the files that it is given are there."""


def child(folder: Path, name: str, *waits_for: str) -> Child:
    command = [sys.executable, "-c", ENDS_AFTER, str(folder / name), *(str(folder / other) for other in waits_for)]
    return Child(name, command, {}, folder, folder / f"{name}.log")


def test_all_children_are_told_before_one_is_waited_for(tmp_path: Path) -> None:
    """Each ends when the other was told as well: one after the other, the first would be waited for in vain, and killed."""
    keeper = Keeper(print)
    keeper.start(child(tmp_path, "one", "two.told"), stop_seconds=5)
    keeper.start(child(tmp_path, "two", "one.told"), stop_seconds=5)
    wait_for(lambda: len(list(tmp_path.glob("*.up"))) == 2, 30, lambda: "not up")
    keeper.stop()
    assert {path.name for path in tmp_path.glob("*.done")} == {"one.done", "two.done"}


def test_what_the_others_need_is_told_when_they_are_gone(tmp_path: Path) -> None:
    keeper = Keeper(print)
    keeper.start(child(tmp_path, "server", "worker.done"), stop_seconds=5, needed=True)
    keeper.start(child(tmp_path, "worker"), stop_seconds=5)
    wait_for(lambda: len(list(tmp_path.glob("*.up"))) == 2, 30, lambda: "not up")
    keeper.stop()
    told, done = (tmp_path / "server.told").stat(), (tmp_path / "worker.done").stat()
    assert told.st_mtime_ns >= done.st_mtime_ns and (tmp_path / "server.done").exists()


def test_what_cannot_be_done_is_said_once_whatever_else_succeeds() -> None:
    said: list[str] = []
    answers = False

    def ask() -> list[str]:
        if not answers:
            raise ServerError("The server does not answer.")
        return []

    keeper = Keeper(said.append)
    keeper.duties += [Duty(ask, 0), Duty(list, 0)]
    for _ in range(3):
        keeper.tend()
    assert said == ["The server does not answer."]
    answers = True
    keeper.tend()
    answers = False
    keeper.tend()
    assert len(said) == 2, "it answered in between, so this is news"
