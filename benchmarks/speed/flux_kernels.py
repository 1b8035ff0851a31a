"""What the card's kernels reach at FLUX.1-dev's shapes: matrix products, conversions, attention.

python -m benchmarks.speed.flux_kernels --out benchmarks/results
"""

import argparse
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.result_file import Row, write_result
from flenwheel_core.kernels.attention import attention
from flenwheel_core.kernels.frozen_weights import scaled_product
from flenwheel_core.kernels.quantise import FP8, quantise_rows
from flenwheel_core.kernels.transpose import transposed_codes

TOKENS = 4608
SHAPES = {"qkv_mlp": (21504, 3072), "out": (3072, 15360), "qkv": (9216, 3072), "square": (3072, 3072)}


def seconds(function: Callable[[], object], repeats: int = 20) -> float:
    """Mean seconds of a call, measured on the card."""
    for _ in range(3):
        function()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(repeats):
        function()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1000 / repeats


class Kernels:
    """Rows of the result file; a case that fails is a row with its error."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[Row] = []

    def case(self, name: str, function: Callable[[], object], *, flop: float = 0, bytes_moved: float = 0) -> None:
        row: dict[str, str | int | float | bool | None] = {"case": name}
        try:
            taken = seconds(function)
            row["microseconds"] = taken * 1e6
            if flop:
                row["tflop_per_second"] = flop / taken / 1e12
            if bytes_moved:
                row["tb_per_second"] = bytes_moved / taken / 1e12
        except Exception as error:
            traceback.print_exc()
            row["error"] = f"{type(error).__name__}: {error}"[:200]
        print(row, flush=True)
        self.rows.append(row)
        write_result("flux_kernels", self.rows, folder=self.folder)


def products(kernels: Kernels) -> None:
    one = torch.ones((), device="cuda")
    for name, (outputs, inputs) in SHAPES.items():
        x = torch.randn(TOKENS, inputs, device="cuda", dtype=torch.bfloat16)
        w = torch.randn(outputs, inputs, device="cuda", dtype=torch.bfloat16) * 0.02
        bias = torch.randn(outputs, device="cuda", dtype=torch.bfloat16)
        xq, xs = quantise_rows(x)
        wq, ws = quantise_rows(w)
        flop = 2.0 * TOKENS * outputs * inputs
        kernels.case(f"bf16_{name}", lambda x=x, w=w: x @ w.t(), flop=flop)
        kernels.case(f"fp8_rows_{name}", lambda a=xq, s=xs, b=wq, t=ws: scaled_product(a, s, b, t), flop=flop)
        kernels.case(
            f"fp8_rows_bias_{name}",
            lambda a=xq, s=xs, b=wq, t=ws, c=bias: torch._scaled_mm(
                a, b.t(), scale_a=s, scale_b=t.t(), bias=c, out_dtype=torch.bfloat16, use_fast_accum=True
            ),
            flop=flop,
        )
        for fast in (True, False):
            kernels.case(
                f"fp8_tensor_{'fast' if fast else 'exact'}_{name}",
                lambda a=xq, b=wq, fast=fast: torch._scaled_mm(
                    a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=fast
                ),
                flop=flop,
            )
        kernels.case(f"transpose_{name}", lambda b=wq: transposed_codes(b), bytes_moved=2.0 * outputs * inputs)
        a16 = torch.randn(64, inputs, device="cuda", dtype=torch.bfloat16)
        h = torch.randn(TOKENS, 64, device="cuda", dtype=torch.bfloat16)
        b16 = torch.randn(outputs, 64, device="cuda", dtype=torch.bfloat16)
        y = torch.randn(TOKENS, outputs, device="cuda", dtype=torch.bfloat16)
        kernels.case(f"adapter_down_{name}", lambda x=x, a=a16: x @ a.t(), bytes_moved=2.0 * TOKENS * inputs)
        kernels.case(
            f"adapter_up_{name}", lambda y=y, h=h, b=b16: torch.addmm(y, h, b.t()), bytes_moved=4.0 * TOKENS * outputs
        )
        kernels.case(f"adapter_db_{name}", lambda y=y, h=h: y.t() @ h, bytes_moved=2.0 * TOKENS * outputs)
        kernels.case(f"adapter_dh_{name}", lambda y=y, b=b16: y @ b, bytes_moved=2.0 * TOKENS * outputs)
        quantise = torch.compile(quantise_rows, dynamic=False)
        kernels.case(f"quantise_{name}", lambda x=x, quantise=quantise: quantise(x), bytes_moved=3.0 * TOKENS * inputs)
    codes = torch.randn(TOKENS, 12288, device="cuda").to(FP8)
    kernels.case("cast", lambda: codes.to(torch.bfloat16), bytes_moved=3.0 * codes.numel())


def attentions(kernels: Kernels) -> None:
    shape = (1, TOKENS, 24, 128)
    q, k, v, dy = (torch.randn(shape, device="cuda", dtype=torch.bfloat16, requires_grad=i < 3) for i in range(4))
    flop = 4.0 * TOKENS * TOKENS * 24 * 128
    for cudnn in (False, True):
        name = "cudnn" if cudnn else "default"

        def forward(cudnn: bool = cudnn) -> torch.Tensor:
            with torch.no_grad():
                return attention(q, k, v, cudnn=cudnn)

        def both(cudnn: bool = cudnn) -> object:
            return torch.autograd.grad(attention(q, k, v, cudnn=cudnn), (q, k, v), dy)

        kernels.case(f"attention_{name}_forward", forward, flop=flop)
        kernels.case(f"attention_{name}_both", both, flop=flop * 3.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    kernels = Kernels(arguments.out)
    attentions(kernels)
    products(kernels)


if __name__ == "__main__":
    main()
