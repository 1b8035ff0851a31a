"""The fused linear with adapters, seen by the compiler: shape functions of its operators are right in both directions."""

import pytest
import torch

from flenwheel_core.adapters.lora_linear import Adapter, lora_linear
from flenwheel_core.kernels.frozen_weights import Storage, store


@pytest.mark.filterwarnings(
    "ignore:.*should not be instantiated:DeprecationWarning"
)  # the compiler of torch 2.11 does it
@pytest.mark.parametrize("storage", ["dense", "fp8", "nf4"])
@pytest.mark.parametrize("adapted", [True, False])
def test_traced_by_the_compiler_it_computes_the_same(storage: Storage, adapted: bool) -> None:
    torch.manual_seed(0)
    weight = store(torch.randn(48, 64) / 8, torch.randn(48), storage)
    x = torch.randn(2, 5, 64, requires_grad=True)
    a, b = torch.randn(4, 64, requires_grad=True), torch.randn(48, 4, requires_grad=True)
    inputs = (x, a, b) if adapted else (x,)

    def run(x: torch.Tensor, *matrices: torch.Tensor) -> torch.Tensor:
        adapter = Adapter((matrices[0],), (matrices[1],), (2.0,), (0,)) if matrices else None
        return lora_linear(x, weight, adapter, compact=True)

    results = []
    for function in (run, torch.compile(run, backend="aot_eager", fullgraph=True, dynamic=False)):
        y = function(*inputs)
        results.append([y, *torch.autograd.grad(y.square().sum(), inputs)])
    for got, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
