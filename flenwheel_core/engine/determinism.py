"""Bit-equal repeats on a CUDA card."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from flenwheel_core.memory.card import FIXED_WORKSPACE


@contextmanager
def deterministic(*, wanted: bool) -> Iterator[None]:
    """Within it, the same numbers come out of the same numbers on the same card and versions, if `wanted`.

    cuBLAS reads its workspace setting once, before it first multiplies on the card: a stage's process has it from `limit_process`.
    Kernels that are tuned by timing them (compiled blocks) and cuDNN's attention are for the caller to leave out.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", FIXED_WORKSPACE)
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cuda.cudnn_sdp_enabled()
    torch.use_deterministic_algorithms(True)
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cuda.enable_cudnn_sdp(before[1])
