"""A kernel that does not run is never silent: the reason is kept, logged once, and a setting turns kernels off."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from flenwheel_core.base.progress import hearing
from flenwheel_core.kernels.kernel import Kernel, State
from flenwheel_core.kernels.table import KERNELS

CARD = torch.device("cuda", 0)


class CompilationError(Exception):
    """As Triton's is called."""


def failing(error: Exception) -> Kernel:
    def check(device: torch.device) -> bool:
        raise error

    return Kernel("gelu", "fails", check)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLENWHEEL_KERNELS_OFF", raising=False)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CompilationError("at 3:4: no such type\nmore"), "does not compile: CompilationError: at 3:4: no such type"),
        (RuntimeError("no kernel image\nmore"), "fails: RuntimeError: no kernel image"),
        (ModuleNotFoundError("No module named 'triton'"), "cannot be imported: No module named 'triton'"),
    ],
)
def test_a_kernel_that_fails_says_why_and_says_it_once(error: Exception, reason: str) -> None:
    kernel, heard = failing(error), list[str]()
    with hearing(heard.append):
        assert not kernel.works(CARD) and not kernel.works(CARD)
    assert kernel.state(CARD) == State(False, reason) and kernel.state(CARD).failed
    assert heard == [f"kernel gelu is left out, PyTorch takes its place: it {reason}"]


def test_a_kernel_that_computes_something_else_is_left_out() -> None:
    state = Kernel("add", "wrong", lambda device: False).state(CARD)
    assert state == State(False, "computes other values than PyTorch") and state.failed


def test_a_full_card_says_nothing_about_the_kernel() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        failing(torch.OutOfMemoryError("CUDA out of memory")).state(CARD)


@pytest.mark.parametrize("off", ["gelu", "add, GELU", "all", '["gelu"]'])
def test_a_setting_turns_a_kernel_off(off: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLENWHEEL_KERNELS_OFF", off)
    heard = list[str]()
    with hearing(heard.append):
        state = failing(AssertionError("is not even tried")).state(CARD)
    assert state == State(False, "turned off by FLENWHEEL_KERNELS_OFF") and not state.failed and heard == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card: tests/gpu says that they work")
def test_every_kernel_that_is_tried_without_its_card_keeps_a_reason() -> None:
    code = """
import json, torch
from flenwheel_core.kernels.table import KERNELS
print(json.dumps({name: kernel.state(torch.device("cuda", 0)).reason for name, kernel in KERNELS.items()}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    reasons = json.loads(done.stdout.splitlines()[-1])
    assert reasons.keys() == KERNELS.keys() and all(reasons.values())
    assert done.stderr.count("is left out") == len(KERNELS)
