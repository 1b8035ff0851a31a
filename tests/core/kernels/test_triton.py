"""The kernels' Triton code without a card: it compiles for cards, and run by Triton's interpreter it computes what PyTorch computes.

The interpreter rounds fp8 and bfloat16 products otherwise than a card does, so that is left to tests/gpu.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from flenwheel_core.kernels.table import KERNELS

ROOT = Path(__file__).resolve().parents[3]
NOT_OURS = {"attention"}
"""cuDNN's, without Triton code."""


@pytest.fixture(scope="module")
def interpreted() -> list[str]:
    """The kernels that computed the same in the interpreter, in one process; the first fault ends it."""
    pytest.importorskip("triton")
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-m", "tests.core.kernels.test_triton"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    sys.stderr.write(done.stderr[-3000:])
    return done.stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(KERNELS.keys() - NOT_OURS))
def test_the_kernel_computes_what_pytorch_computes(name: str, interpreted: list[str]) -> None:
    assert name in interpreted


def same_shapes(op: Callable[..., object], *arguments: object) -> None:
    """The operator's shape function gives what the operator gives."""
    torch.library.opcheck(op, arguments, test_utils="test_faketensor")


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape)


def quantise() -> None:
    from flenwheel_core.kernels.quantise import quantise_rows
    from flenwheel_core.kernels.triton.quantise import quantise_rows_on_card

    for width in (300, 5000):
        x, columns = random(5, width), random(width).abs()
        for factor in (None, columns):
            codes, scale = quantise_rows_on_card(x, factor)
            expected, expected_scale = quantise_rows(x if factor is None else x * factor)
            torch.testing.assert_close(scale, expected_scale)
            assert (codes.view(torch.uint8) == expected.view(torch.uint8)).float().mean() > 0.9


def transpose() -> None:
    from flenwheel_core.kernels.triton.transpose import transpose_on_card

    codes = random(200, 300).to(torch.float8_e4m3fn)
    assert torch.equal(transpose_on_card(codes).view(torch.uint8), codes.view(torch.uint8).t())


def unpack() -> None:
    from flenwheel_core.kernels.frozen_weights import Nf4Weight, store
    from flenwheel_core.kernels.triton.unpack import unpack_rows_on_card
    from flenwheel_core.kernels.unpack import plain_unpack_rows

    for inputs in (192, 2560):
        weight = store(random(32, inputs), random(32), "nf4")
        assert isinstance(weight, Nf4Weight)
        codes, scale = unpack_rows_on_card(weight)
        expected, expected_scale = plain_unpack_rows(weight)
        torch.testing.assert_close(scale, expected_scale)
        assert (codes.view(torch.uint8) == expected.view(torch.uint8)).float().mean() > 0.9


def add() -> None:
    from flenwheel_core.kernels.triton.add import add_product_on_card

    y, left = random(70, 500), random(70, 48)
    for right in (random(500, 48).t(), random(48, 500)):
        torch.testing.assert_close(add_product_on_card(y.clone(), left, right, 1, 0), y + left @ right)
    b = torch.zeros(500, 48)
    b[:128, :16], b[128:256, 16:32], b[256:, 32:] = random(128, 16), random(128, 16), random(244, 16)
    torch.testing.assert_close(add_product_on_card(y.clone(), left, b.t(), 3, 128), y + left @ b.t())


def vector() -> None:
    from flenwheel_core.kernels.triton.vector import times_vector_on_card
    from flenwheel_core.kernels.vector import plain_times_vector

    vectors, codes, scales, bias = random(2, 700), random(90, 700).to(torch.float8_e4m3fn), random(90, 1), random(90)
    expected = plain_times_vector(vectors, codes, scales, bias)
    torch.testing.assert_close(times_vector_on_card(vectors, codes, scales, bias), expected, atol=1e-4, rtol=1e-4)


def heads() -> None:
    from flenwheel_core.kernels.heads import Stream, join_heads, joint_heads, part_heads

    count, width = 6, 16
    angles = random(8, width // 2)
    rope = angles.cos().repeat_interleave(2, 1), angles.sin().repeat_interleave(2, 1)
    norms = [random(width) for _ in range(4)]
    whole = random(2, 5, 7 * count * width)
    parts = [random(2, 3, 3 * count * width), whole[..., : 3 * count * width]]
    for chosen in (parts, parts[1:]):
        results = []
        for kernel in (True, False):
            inputs = [part.detach().clone().requires_grad_() for part in chosen]
            streams = [Stream(x, norms[2 * i], norms[2 * i + 1]) for i, x in enumerate(inputs)]
            tokens = sum(x.shape[1] for x in inputs)
            made = joint_heads(streams, (rope[0][:tokens], rope[1][:tokens]), count, kernel=kernel)
            results.append([*made, *torch.autograd.grad(made, inputs, [part.detach() + 1 for part in made])])
        torch.testing.assert_close(results[0], results[1], atol=1e-4, rtol=1e-4)
    both = parts[0], *norms[:2], parts[1], *norms[2:], *rope
    same_shapes(join_heads, *both, count, 1e-6)
    same_shapes(part_heads, *(random(2, 8, count, width) for _ in range(3)), *both, 1e-6)
    one = parts[1][..., : 2 * count * width], *norms[:2], None, None, None, rope[0][:5], rope[1][:5]
    same_shapes(join_heads, *one, count, 1e-6)
    same_shapes(part_heads, *(random(2, 5, count, width) for _ in range(2)), None, *one, 1e-6)


def modulated() -> None:
    from flenwheel_core.kernels.modulated import modulated as plain
    from flenwheel_core.kernels.modulated import modulated_and_quantised, modulated_rows

    x, modulation = random(2, 3, 40), random(2, 240)
    shift, scale, *_ = modulation[:, None].chunk(6, -1)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, _, row_scales = modulated_and_quantised(one, shift, scale)
    expected = plain(other, shift, scale)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(row_scales.flatten(), expected.detach().abs().amax(-1).flatten() / 448)
    dy = random(*x.shape)
    torch.testing.assert_close(torch.autograd.grad(y, one, dy), torch.autograd.grad(expected, other, dy))
    same_shapes(modulated_rows, x, shift, scale)


def gelu() -> None:
    from flenwheel_core.kernels.gelu import gelu_and_quantised, gelu_rows

    wide, before = random(2, 3, 1700).requires_grad_(), random(2, 3, 200).requires_grad_()
    bent = torch.nn.functional.gelu(wide[..., 200:], approximate="tanh")
    for first, expected in ((before, torch.cat([before, bent], -1)), (None, bent)):
        x, _, scales = gelu_and_quantised(first, wide[..., 200:])
        torch.testing.assert_close(x, expected)
        torch.testing.assert_close(scales.flatten(), expected.detach().abs().amax(-1).flatten() / 448)
        inputs, dx = [wide] if first is None else [wide, before], random(*x.shape)
        got, wanted = (torch.autograd.grad(made, inputs, dx, retain_graph=True) for made in (x, expected))
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)
        same_shapes(gelu_rows, None if first is None else first.detach(), wide.detach()[..., 200:])


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.cuda.device = lambda device: contextlib.nullcontext()  # type: ignore[assignment,misc]
    for check in (quantise, transpose, unpack, add, vector, heads, modulated, gelu):
        check()
        sys.stdout.write(check.__name__ + "\n")
