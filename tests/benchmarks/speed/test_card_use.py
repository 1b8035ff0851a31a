"""What the driver says of a process's children is found and its peak kept; here a script answers in nvidia-smi's place."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.speed.card_use import CardWatch, started_by, used_mib_by_pid


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sh", "-c", "sleep 60; true"]) as process:
        while not started_by(process.pid):
            time.sleep(0.01)
        yield process
        below = started_by(process.pid)
        process.kill()
        for pid in below:
            os.kill(pid, 9)


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is written here is what nvidia-smi answers; without the file it fails."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nexec cat {tmp_path / 'answer'}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "answer"


def test_children_and_their_children_are_found(child: subprocess.Popen[bytes]) -> None:
    found, below = started_by(os.getpid()), started_by(child.pid)
    assert len(below) == 1 and {child.pid} | below <= found
    assert os.getpid() not in found


def test_the_peak_of_our_own_processes_is_kept(answer: Path, child: subprocess.Popen[bytes]) -> None:
    answer.write_text(f"{child.pid}, 2048\n1, 90000\n{child.pid}, 1024\n{os.getpid()}, 512\nnobody, [N/A]\n")
    with CardWatch() as watch:
        while watch.peak_gib is None:
            time.sleep(0.05)
        answer.write_text(f"{child.pid}, 1024\n")
        time.sleep(1.5)
    assert watch.peak_gib == 3.0


def test_nothing_is_said_where_nvidia_smi_does_not_answer_or_names_others_only(
    answer: Path, child: subprocess.Popen[bytes]
) -> None:
    assert used_mib_by_pid() == {}
    answer.write_text(f"{child.pid}, 2048\n")
    assert used_mib_by_pid() == {child.pid: 2048}
    with CardWatch(without=[child.pid]) as watch:
        time.sleep(1.5)
    assert watch.peak_gib is None
