"""The linears behind an activation: what lies before it and the activation side by side, with adapters, in every storage."""

import pytest
import torch
from torch.nn import functional

from flenwheel_core.adapters.lora_linear import Adapter
from flenwheel_core.kernels.frozen_weights import Storage, store
from flenwheel_core.transformer.blocks import Linear, block_options, gelu_linear, swiglu_linear

OPTIONS = block_options(2, torch.device("cpu"), cudnn=False, compact=False)


@pytest.mark.parametrize("name", ["gelu", "swiglu"])
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize(("storage", "cosine"), [("dense", 0.99999), ("fp8", 0.998), ("nf4", 0.98)])
def test_output_and_gradients_are_those_of_plain_torch(
    name: str, joined: bool, storage: Storage, cosine: float
) -> None:
    torch.manual_seed(0)
    hidden, ahead = 64, 64 if joined else 0
    weight, bias = torch.randn(32, ahead + hidden) / 8, torch.randn(32)
    pre = torch.randn(2, 5, hidden * (2 if name == "swiglu" else 1))
    a, b = torch.randn(4, ahead + hidden) / 8, torch.randn(32, 4) / 2
    before = torch.randn(2, 5, ahead) if joined else None
    dy = torch.randn(2, 5, 32)
    results = []
    for ours in (True, False):
        inputs = [t.clone().requires_grad_() for t in (pre, a, b, *([] if before is None else [before]))]
        pre_, a_, b_, *rest = inputs
        first = rest[0] if rest else None
        if ours:
            linear = Linear(store(weight, bias, storage), Adapter((a_,), (b_,), (2.0,), (0,)))
            y = (gelu_linear if name == "gelu" else swiglu_linear)(first, pre_, linear, OPTIONS)
        else:
            if name == "gelu":
                bent = functional.gelu(pre_, approximate="tanh")
            else:
                gate, value = pre_.chunk(2, -1)
                bent = functional.silu(gate) * value
            x = bent if first is None else torch.cat([first, bent], -1)
            y = functional.linear(x, weight, bias) + 2.0 * (x @ a_.t()) @ b_.t()
        results.append([y.detach(), *torch.autograd.grad(y, inputs, dy)])
    for got, expected in zip(*results, strict=True):
        assert got.shape == expected.shape
        assert functional.cosine_similarity(got.flatten(), expected.flatten(), dim=0) > cosine
