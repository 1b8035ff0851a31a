"""Rows of a matrix to e4m3, the eight-bit float that a card's tensor cores multiply: codes, and one scale a row."""

import torch

from flenwheel_core.kernels.kernel import Kernel, near, sample

FP8 = torch.float8_e4m3fn
FP8_MAX = 448.0


def quantise_rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """e4m3 codes and float32 scales (rows, 1) of a matrix: each row uses the whole range."""
    values = x.float()
    scale = values.abs().amax(-1, keepdim=True).clamp_min(1e-12) / FP8_MAX
    return (values / scale).clamp(-FP8_MAX, FP8_MAX).to(FP8), scale


@torch.library.custom_op("flenwheel::quantise", mutates_args=())
def quantise(x: torch.Tensor, columns: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """e4m3 codes and float32 scales (rows, 1) of x (rows, width), each column times `columns` (width,) before."""
    if QUANTISE.works(x.device):
        from flenwheel_core.kernels.triton.quantise import quantise_rows_on_card

        return quantise_rows_on_card(x, columns)
    return quantise_rows(x if columns is None else x.float() * columns)


@quantise.register_fake
def _(x: torch.Tensor, *_: object) -> tuple[torch.Tensor, torch.Tensor]:
    return x.new_empty(x.shape, dtype=FP8), x.new_empty((x.shape[0], 1), dtype=torch.float32)


def _check(device: torch.device) -> bool:
    from flenwheel_core.kernels.triton.quantise import quantise_rows_on_card

    for width in (96, 9216):
        x = sample(4, width, device=device, seed=1)
        columns = sample(width, device=device, seed=2).float().abs()
        for factor in (None, columns):
            codes, scale = quantise_rows_on_card(x, factor)
            expected, expected_scale = quantise_rows(x if factor is None else x.float() * factor)
            if not near(scale, expected_scale, 1e-4) or not near(codes.float(), expected.float()):
                return False
    return True


QUANTISE = Kernel(
    "quantise", "rows to fp8", _check, ops=("flenwheel::quantise",), weights=("fp8", "nf4"), multiplies_fp8=True
)
