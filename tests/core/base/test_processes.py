"""Processes end with whoever started them."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
CHILD = """
import sys, time
from flenwheel_core.base.processes import {name}
{call}
print("ready", flush=True)
time.sleep(600)
"""
STARTER = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, {more})
child.stdout.readline()
print(child.pid, flush=True)
os.kill(os.getpid(), 9)
"""


def _child_of_a_killed_process(child: str, more: str = "") -> int:
    code = "from flenwheel_core.base.processes import ended_with_parent\n" + STARTER.replace("{more}", more)
    done = subprocess.run(
        [sys.executable, "-c", code, child], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == -9
    return int(done.stdout)


def _is_gone(pid: int, seconds: float = 240) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("leave_with_parent", "leave_with_parent()"),
        ("when_parent_is_gone", "import os; when_parent_is_gone(lambda: os._exit(3))"),
    ],
)
def test_a_process_that_watches_its_starter_goes_with_it(name: str, call: str) -> None:
    assert _is_gone(_child_of_a_killed_process(CHILD.format(name=name, call=call)))


def test_a_starter_that_ended_before_the_first_look_is_noticed() -> None:
    code = CHILD.format(name="leave_with_parent", call="leave_with_parent(2**22 + 1)")
    process = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.DEVNULL)
    try:
        assert process.wait(240) == 1
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel, as Linux allows")
def test_the_kernel_ends_a_child_whatever_it_runs() -> None:
    child = 'print("ready", flush=True); import time; time.sleep(600)'
    assert _is_gone(_child_of_a_killed_process(child, "preexec_fn=ended_with_parent()"))
