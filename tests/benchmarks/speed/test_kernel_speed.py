"""The speed check of the kernels: it knows every kernel, and refuses politely where there is no card."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.speed.kernel_speed import Sizes, cases
from flenwheel_core.kernels.table import KERNELS

ROOT = Path(__file__).resolve().parents[3]
SMALL = Sizes(picture=24, text=8, heads=2, head_width=16, rank=4)


def test_every_kernel_is_timed() -> None:
    assert {case.kernel for case in cases(torch.device("cpu"), SMALL)} == set(KERNELS)


@pytest.mark.parametrize("case", cases(torch.device("cpu"), SMALL), ids=lambda case: case.name)
def test_the_plain_versions_run(case: object) -> None:
    made = case.plain(*case.arguments)  # type: ignore[attr-defined]
    assert all(torch.isfinite(part.float()).all() for part in (made if isinstance(made, tuple) else (made,)))


def test_without_a_card_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.speed.kernel_speed", "--out", str(tmp_path / "results")]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "NVIDIA card" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()
