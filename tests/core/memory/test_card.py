import os

import pytest
import torch

from flenwheel_core.base.settings import Settings
from flenwheel_core.memory.card import FIXED_WORKSPACE, is_out_of_memory, limit_process, open_card


def test_cublas_gets_a_fixed_workspace_before_a_deterministic_process_multiplies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    assert limit_process(Settings(gpu="cpu")) is None and "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    limit_process(Settings(gpu="cpu"), deterministic=True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == FIXED_WORKSPACE


def test_there_is_no_card_where_the_work_runs_on_processors() -> None:
    assert open_card(Settings(gpu="cpu")) is None


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 580.00 MiB."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_a_full_card_is_known_by_all_its_names(error: Exception, full: bool) -> None:
    assert is_out_of_memory(error) is full
