"""Each kernel of the table against its plain version, at the sizes of a training step of FLUX.1-dev: a kernel that is not faster goes.

python -m benchmarks.speed.kernel_speed --out benchmarks/results
"""

import argparse
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from benchmarks.result_file import Row, write_result
from benchmarks.speed.flux_kernels import seconds
from flenwheel_core.kernels.add import add_product
from flenwheel_core.kernels.attention import attention
from flenwheel_core.kernels.frozen_weights import Nf4Weight, dequantise, store
from flenwheel_core.kernels.gelu import gelu_and_quantised
from flenwheel_core.kernels.heads import Stream, joint_heads
from flenwheel_core.kernels.kernel import sample
from flenwheel_core.kernels.modulated import modulated, modulated_and_quantised
from flenwheel_core.kernels.quantise import quantise, quantise_rows
from flenwheel_core.kernels.table import KERNELS, kernel_line
from flenwheel_core.kernels.transpose import transpose, transposed_codes
from flenwheel_core.kernels.unpack import unpack_rows
from flenwheel_core.kernels.vector import plain_times_vector, times_vector

Made = torch.Tensor | tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Sizes:
    """A picture of 1024 x 1024 with its prompt, in FLUX.1."""

    picture: int = 4096
    text: int = 512
    heads: int = 24
    head_width: int = 128
    rank: int = 16

    @property
    def tokens(self) -> int:
        return self.picture + self.text

    @property
    def channels(self) -> int:
        return self.heads * self.head_width


@dataclass(frozen=True)
class Case:
    """A kernel and its plain version, which take the same arguments."""

    name: str
    kernel: str
    ours: Callable[..., Made]
    plain: Callable[..., Made]
    arguments: tuple[Any, ...]


def cases(device: torch.device, sizes: Sizes) -> list[Case]:
    """At least one of each kernel of the table."""

    def random(*shape: int) -> torch.Tensor:
        return sample(*shape, device=device, seed=sum(shape))

    c, tokens = sizes.channels, sizes.tokens
    x, wide = random(tokens, c), random(tokens, 5 * c)
    codes, _ = quantise_rows(random(c, 5 * c))
    packed = cast(Nf4Weight, store(random(c, 5 * c), random(c), "nf4"))
    y, left, right = random(tokens, 7 * c), random(tokens, 4 * sizes.rank), random(4 * sizes.rank, 7 * c) / 64
    modulation, modulation_scales = quantise_rows(random(6 * c, c))
    shift, scale, picture = random(1, 1, c), random(1, 1, c), random(1, sizes.picture, c)
    before, pre = random(1, tokens, c), random(1, tokens, 4 * c)
    q, k, v = (random(1, tokens, sizes.heads, sizes.head_width) for _ in range(3))
    angles = random(tokens, sizes.head_width // 2).float()
    rope = angles.cos().repeat_interleave(2, 1), angles.sin().repeat_interleave(2, 1)
    norms = [random(sizes.head_width) for _ in range(4)]
    streams = random(1, sizes.text, 3 * c), random(1, sizes.picture, 3 * c)

    def joined(text: torch.Tensor, picture: torch.Tensor, *, kernel: bool) -> Made:
        return joint_heads((Stream(text, *norms[:2]), Stream(picture, *norms[2:])), rope, sizes.heads, kernel=kernel)

    return [
        Case("quantise_narrow", "quantise", quantise, lambda x, _: quantise_rows(x), (x, None)),
        Case("quantise_wide", "quantise", quantise, lambda x, _: quantise_rows(x), (wide, None)),
        Case("transpose", "transpose", transpose, transposed_codes, (codes,)),
        # Where it does not run, products take the weight in bfloat16: that is what it must beat.
        Case("unpack", "unpack", lambda: unpack_rows(packed), lambda: dequantise(packed, torch.bfloat16), ()),
        Case("add", "add", add_product, lambda y, left, right: y.addmm_(left, right), (y, left, right)),
        Case(
            "vector", "vector", times_vector, plain_times_vector,
            (random(1, c), modulation, modulation_scales, random(6 * c)),
        ),
        Case(
            "heads", "heads", lambda *s: joined(*s, kernel=True), lambda *s: joined(*s, kernel=False), streams,
        ),
        Case(
            "heads_with_gradient", "heads",
            with_gradient(lambda *s: joined(*s, kernel=True)), with_gradient(lambda *s: joined(*s, kernel=False)),
            streams,
        ),
        Case("modulated", "modulated", modulated_and_quantised, _modulated, (picture, shift, scale)),
        Case("gelu", "gelu", gelu_and_quantised, _gelu, (before, pre)),
        Case(
            "attention", "attention",
            lambda *s: attention(*s, cudnn=True), lambda *s: attention(*s, cudnn=False), (q, k, v),
        ),
        Case(
            "attention_with_gradient", "attention",
            with_gradient(lambda *s: attention(*s, cudnn=True)), with_gradient(lambda *s: attention(*s, cudnn=False)),
            (q, k, v),
        ),
    ]  # fmt: skip


def with_gradient(function: Callable[..., Any]) -> Callable[..., Made]:
    """The function and its backward pass, with what it made as the gradient."""

    def both(*arguments: torch.Tensor) -> Made:
        with torch.enable_grad():
            inputs = [argument.detach().requires_grad_() for argument in arguments]
            made = function(*inputs)
            made = made if isinstance(made, tuple) else (made,)
            return torch.autograd.grad(made, inputs, [part.detach() for part in made])

    return both


def _modulated(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> Made:
    y = modulated(x, shift, scale)
    return y, *quantise_rows(y.flatten(0, 1))


def _gelu(before: torch.Tensor, pre: torch.Tensor) -> Made:
    x = torch.cat([before, torch.nn.functional.gelu(pre, approximate="tanh")], -1)
    return x, *quantise_rows(x.flatten(0, 1))


@torch.no_grad()
def measure(case: Case, device: torch.device) -> Row:
    """Microseconds of the kernel, of the plain version, and of the plain version compiled; or why the kernel does not run."""
    row: dict[str, str | int | float | bool | None] = {"case": case.name, "kernel": case.kernel}
    state = KERNELS[case.kernel].state(device)
    if not state.works:
        return row | {"error": state.reason}
    row["microseconds"] = ours = 1e6 * seconds(lambda: case.ours(*case.arguments))
    row["plain_microseconds"] = best = 1e6 * seconds(lambda: case.plain(*case.arguments))
    if case.kernel != "attention" and not case.name.endswith("with_gradient"):
        compiled = torch.compile(case.plain, dynamic=False)
        try:
            row["compiled_microseconds"] = 1e6 * seconds(lambda: compiled(*case.arguments))
        except Exception:
            traceback.print_exc()
        else:
            best = min(best, float(row["compiled_microseconds"] or best))
    row["times_as_fast_as_the_best_other"] = best / ours
    return row


def main() -> int:
    """Measures and writes; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("Kernels are timed on an NVIDIA card, and torch sees none here. Nothing was written.", file=sys.stderr)
        return 1
    device = torch.device("cuda", 0)
    print(kernel_line(device), flush=True)
    rows: list[Row] = []
    for case in cases(device, Sizes()):
        rows.append(measure(case, device))
        print(rows[-1], flush=True)
        write_result("kernel_speed", rows, folder=arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
