"""Stored weights come back as near as their storage allows, whatever their shape."""

import pytest
import torch

from flenwheel_core.kernels.frozen_weights import Storage, dequantise, store

LARGEST_STEP = {"nf4": 0.304, "fp8": 2**-3}
"""Between neighbouring codes: NF4 against the largest of a block, fp8 (three bits of mantissa) against the largest of a row."""


@pytest.mark.parametrize("storage", ["nf4", "fp8"])
@pytest.mark.parametrize("shape", [(64, 64), (64, 32), (100, 160), (33, 96), (12, 48)])
def test_every_weight_is_within_half_a_step(storage: Storage, shape: tuple[int, int]) -> None:
    weight = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    found = dequantise(store(weight, torch.zeros(shape[0]), storage), torch.float32)
    assert found.shape == shape
    step = LARGEST_STEP[storage] / 2 * 1.05
    if storage == "fp8":
        assert ((found - weight).abs() <= step * weight.abs().amax(1, keepdim=True)).all()
        return
    blocks = torch.nn.functional.pad(weight.flatten(), (0, -weight.numel() % 64)).view(-1, 64)
    wrong = torch.nn.functional.pad((found - weight).flatten(), (0, -weight.numel() % 64)).view(-1, 64)
    assert (wrong.abs() <= step * blocks.abs().amax(1, keepdim=True)).all()
