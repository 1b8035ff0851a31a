"""What the keeper of a machine's processes tells them, in which order, and what it says of what it could not do."""

import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from benchmarks.kit.workspace import wait_for
from deployments.workspace.keeping import Answers, Duty, Keeper
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
    wait_for(lambda: len(list(tmp_path.glob("*.up"))) == 2, 240, lambda: "not up")
    keeper.stop()
    assert {path.name for path in tmp_path.glob("*.done")} == {"one.done", "two.done"}


def test_what_the_others_need_is_told_when_they_are_gone(tmp_path: Path) -> None:
    keeper = Keeper(print)
    keeper.start(child(tmp_path, "server", "worker.done"), stop_seconds=5, needed=True)
    keeper.start(child(tmp_path, "worker"), stop_seconds=5)
    wait_for(lambda: len(list(tmp_path.glob("*.up"))) == 2, 240, lambda: "not up")
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


def test_what_is_done_apart_holds_up_nothing_and_ends_with_the_rest() -> None:
    done: list[str] = []
    may_go_on = threading.Event()

    def slow() -> list[str]:
        assert may_go_on.wait(240)
        return ["slow"]

    keeper = Keeper(done.append)
    keeper.duties += [Duty(slow, 0, apart=True), Duty(lambda: ["quick"], 0)]
    for _ in range(3):
        keeper.tend()
    assert done == ["quick"] * 3, "and the slow one is not begun once more"
    threading.Timer(0.3, may_go_on.set).start()
    keeper.stop()
    assert done == [*["quick"] * 3, "slow"]


def test_what_is_started_again_answers_before_anything_is_done(tmp_path: Path) -> None:
    done: list[str] = []
    keeper = Keeper(done.append)
    up = tmp_path / "server.up"

    def answers() -> bool:
        done.append("asked")
        return up.exists()

    server = keeper.start(child(tmp_path, "server"), stop_seconds=5, answers=Answers(answers, 30))
    try:
        wait_for(up.exists, 240, server.tail)
        keeper.duties.append(Duty(lambda: ["duty"], 0))
        keeper.tend()
        assert done == ["duty"]
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        wait_for(lambda: not server.alive(), 240, server.tail)
        up.unlink()
        keeper.tend()
        assert "starting it again" in done[1] and done[-1] == "duty" and set(done[2:-1]) == {"asked"} and up.exists()
    finally:
        keeper.stop()


def test_a_signal_breaks_a_start_off_and_after_it_nothing() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        broken_off, goes_on = Keeper(print), Keeper(print)
        broken_off.listen()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        goes_on.listen()
        goes_on.started()
        signal.raise_signal(signal.SIGTERM)
        goes_on.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
