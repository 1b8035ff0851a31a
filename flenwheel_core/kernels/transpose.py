"""fp8 weights, transposed for the backward product: a card's fp8 product wants both matrices with the summed dimension innermost."""

import torch

from flenwheel_core.kernels.kernel import Kernel, sample
from flenwheel_core.kernels.quantise import FP8


def transposed_codes(codes: torch.Tensor) -> torch.Tensor:
    """fp8 codes (outputs, inputs) as contiguous (inputs, outputs)."""
    return codes.view(torch.uint8).t().contiguous().view(FP8)


def transpose(codes: torch.Tensor) -> torch.Tensor:
    """The same, by the card's kernel where it works. No operator of its own: only opaque products call it."""
    if TRANSPOSE.works(codes.device):
        from flenwheel_core.kernels.triton.transpose import transpose_on_card

        return transpose_on_card(codes)
    return transposed_codes(codes)


def _check(device: torch.device) -> bool:
    from flenwheel_core.kernels.triton.transpose import transpose_on_card

    codes = sample(130, 70, device=device, seed=1).to(FP8)
    return torch.equal(transpose_on_card(codes).view(torch.uint8), codes.view(torch.uint8).t())


TRANSPOSE = Kernel(
    "transpose",
    "fp8 weights transposed",
    _check,
    ops=("flenwheel::fp8_product_backward",),
    weights=("fp8", "nf4"),
    multiplies_fp8=True,
)
