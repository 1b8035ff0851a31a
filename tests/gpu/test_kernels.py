"""What the card computes is what float32 arithmetic computes, as far as the storage allows."""

import pytest
import torch

from flenwheel_core.adapters.lora_linear import Adapter, lora_linear
from flenwheel_core.kernels.attention import attention, cudnn_attention_works
from flenwheel_core.kernels.frozen_weights import Storage, store
from flenwheel_core.kernels.gelu import gelu
from flenwheel_core.kernels.quantise import quantise, quantise_rows
from flenwheel_core.kernels.swiglu import swiglu
from flenwheel_core.kernels.table import KERNELS, kernel_line
from flenwheel_core.kernels.transpose import transposed_codes

CARD = "cuda"


def random(*shape: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator(CARD).manual_seed(seed)
    return torch.randn(shape, device=CARD, generator=generator) * scale


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_of_ours_can_be_used_here(name: str) -> None:
    state = KERNELS[name].state(torch.device(CARD, 0))
    if name == "attention" and not state.works:
        pytest.skip(f"cuDNN's attention: {state.reason}")
    assert state.works, state.reason


def test_the_log_names_every_kernel() -> None:
    line = kernel_line(torch.device(CARD, 0), cudnn=False)
    assert line == f"kernels: {', '.join(name for name in KERNELS if name != 'attention')}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("compiled", [False, True])
def test_swiglu_and_its_gradient(compiled: bool, dtype: torch.dtype) -> None:
    gate, value, dy = (random(64, 1024, seed=seed, scale=2.0).to(dtype) for seed in range(3))
    inputs = gate.requires_grad_(), value.requires_grad_()
    y = (torch.compile(swiglu, dynamic=False) if compiled else swiglu)(*inputs)
    exact = [part.detach().double().requires_grad_() for part in inputs]
    expected = torch.nn.functional.silu(exact[0]) * exact[1]
    got, wanted = torch.autograd.grad(y, inputs, dy), torch.autograd.grad(expected, exact, dy.double())
    for one, other in zip((y, *got), (expected, *wanted), strict=True):
        assert (one.double() - other).norm() < 0.005 * other.norm()


@pytest.mark.parametrize("width", [96, 3072, 15360, 21504, 40000])
@pytest.mark.parametrize("columns", [False, True])
def test_rows_are_quantised_as_the_formula_says(width: int, columns: bool) -> None:
    x = random(33, width, seed=1).bfloat16()
    factor = random(width, seed=2).abs() + 0.1 if columns else None
    codes, scale = quantise(x, factor)
    expected, expected_scale = quantise_rows(x if factor is None else x.float() * factor)
    torch.testing.assert_close(scale, expected_scale, rtol=1e-6, atol=0)
    same = (codes.view(torch.uint8) == expected.view(torch.uint8)).float().mean()
    assert same > 0.999  # a division may round the other way


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("compiled", [False, True])
def test_gelu_and_its_gradient(compiled: bool, dtype: torch.dtype) -> None:
    x = random(64, 1024, seed=3, scale=3.0).to(dtype).requires_grad_()
    dy = random(64, 1024, seed=4).to(dtype)
    y = (torch.compile(gelu, dynamic=False) if compiled else gelu)(x)
    exact = x.detach().double().requires_grad_()
    expected = torch.nn.functional.gelu(exact, approximate="tanh")
    (got,) = torch.autograd.grad(y, x, dy)
    (wanted,) = torch.autograd.grad(expected, exact, dy.double())
    for one, other in ((y, expected), (got, wanted)):
        assert (one.double() - other).norm() < 0.005 * other.norm()


def gradients(storage: Storage, *, compact: bool, transposed: bool, compiled: bool) -> list[torch.Tensor]:
    """y and the gradients of x, A and B of a fused linear of two parts, one of them with rank 16."""
    weight = store(random(384, 256, seed=5, scale=0.05).bfloat16(), random(384, seed=6).bfloat16(), storage)
    if transposed:
        weight = weight._replace(transposed=transposed_codes(weight.codes))  # type: ignore[union-attr]
    a = random(16, 256, seed=7, scale=0.05).requires_grad_()
    b = random(128, 16, seed=8, scale=0.05).requires_grad_()
    x = random(2, 96, 256, seed=9).bfloat16().requires_grad_()

    def run(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return lora_linear(x, weight, Adapter((a,), (b,), (2.0,), (128,)), compact=compact)

    y = (torch.compile(run, dynamic=False, fullgraph=True) if compiled else run)(x, a, b)
    dy = random(*y.shape, seed=10).bfloat16()
    return [y.detach(), *torch.autograd.grad(y, (x, a, b), dy)]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("storage", "compact", "transposed", "cosine"),
    [
        ("fp8", True, False, 0.998),
        ("fp8", False, True, 0.998),
        ("nf4", True, False, 0.98),
        ("dense", True, False, 0.9999),
    ],
)
def test_gradients_point_where_those_of_float32_point(
    storage: Storage, compact: bool, transposed: bool, cosine: float, compiled: bool
) -> None:
    weight = random(384, 256, seed=5, scale=0.05).bfloat16().float()
    a = random(16, 256, seed=7, scale=0.05).requires_grad_()
    b = random(128, 16, seed=8, scale=0.05).requires_grad_()
    x = random(2, 96, 256, seed=9).bfloat16().float().requires_grad_()
    y = x @ weight.t() + random(384, seed=6).bfloat16().float()
    y = y + torch.nn.functional.pad(2.0 * (x @ a.t()) @ b.t(), (128, 128))
    dy = random(*y.shape, seed=10).bfloat16().float()
    expected = [y.detach(), *torch.autograd.grad(y, (x, a, b), dy)]
    got = gradients(storage, compact=compact, transposed=transposed, compiled=compiled)
    for one, other in zip(got, expected, strict=True):
        assert torch.nn.functional.cosine_similarity(one.float().flatten(), other.flatten(), dim=0) > cosine


def test_cudnn_attention_takes_gradients_that_are_slices() -> None:
    if not cudnn_attention_works(torch.device(CARD), 128):
        pytest.skip("this card has no cuDNN attention")
    q, k, v = (random(1, 256, 4, 128, seed=i).bfloat16().requires_grad_() for i in range(3))
    wide = random(1, 256, 4 * 128 * 3, seed=4).bfloat16()
    results = []
    for cudnn in (True, False):
        y = attention(q, k, v, cudnn=cudnn)
        joined = torch.cat([y.flatten(2), wide[..., 512:]], -1)
        results.append(torch.autograd.grad((joined.float() * wide.float()).sum(), (q, k, v)))
    for one, other in zip(*results, strict=True):
        assert torch.nn.functional.cosine_similarity(one.float().flatten(), other.float().flatten(), dim=0) > 0.999
