"""Kernel locks: one holder at a time, freed at once by the death of a process, and never in the way of what a file holds."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from flenwheel_core.base.locks import FileLock, held_by, locked

PROJECT = Path(__file__).resolve().parents[3]
HOLD = """
import sys, time
from pathlib import Path
from flenwheel_core.base.locks import FileLock
lock = FileLock(Path(sys.argv[1]))
lock.take()
lock.note("process of the test")
print("held", flush=True)
time.sleep(600)
"""


def test_a_killed_holder_frees_its_lock_at_once(tmp_path: Path) -> None:
    path = tmp_path / "made on the way" / "lock"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with FileLock(path) as lock:
            assert not lock.try_to_take()
            assert held_by(path) == "process of the test"
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert held_by(path) is None
            assert lock.try_to_take() and held_by(path) == "process of the test", "what the dead one wrote"
    finally:
        process.kill()
        process.communicate()
    assert held_by(path) is None


def test_who_only_looks_is_no_holder_and_needs_no_file(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert held_by(path) is None and not path.exists()
    path.write_text("mine")
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # as another process that looks
        assert held_by(path) is None


def test_what_a_file_holds_stays(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("a line\n")
    with locked(path):
        assert path.read_text() == "a line\n"
    with FileLock(path) as lock:
        lock.note("ann")
        lock.note("b")
    assert path.read_text() == "b"


def test_the_same_file_excludes_programs_that_lock_it_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with FileLock(path) as lock:
            assert not lock.try_to_take()


def test_threads_of_one_process_take_turns(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "lock", [0], [0]

    def work() -> None:
        for _ in range(20):
            with locked(path):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_closing_twice_closes_nothing_else(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    lock.close()
    with (tmp_path / "other").open("w") as other:
        lock.close()
        other.write("still open")
