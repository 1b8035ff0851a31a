"""NF4 weights to fp8 for a product: a card multiplies fp8 about twice as fast as bfloat16, and the unpacked weight is half as large."""

import torch

from flenwheel_core.kernels.frozen_weights import NF4_BLOCK, Nf4Weight, dequantise
from flenwheel_core.kernels.kernel import Kernel, near, sample
from flenwheel_core.kernels.quantise import quantise_rows

_MULTIPLE = 16
"""A card's fp8 product wants both sides of a matrix to be a multiple of it."""


def plain_unpack_rows(weight: Nf4Weight) -> tuple[torch.Tensor, torch.Tensor]:
    """e4m3 codes (outputs, inputs) and float32 scales (outputs, 1)."""
    return quantise_rows(dequantise(weight, torch.float32))


def unpack_rows(weight: Nf4Weight) -> tuple[torch.Tensor, torch.Tensor]:
    """The same, by the card's kernel. No operator of its own: only opaque products call it, where `unpacks_on_card`."""
    from flenwheel_core.kernels.triton.unpack import unpack_rows_on_card

    return unpack_rows_on_card(weight)


def unpacks_on_card(weight: Nf4Weight) -> bool:
    """True if products with this weight run in fp8: the kernel works, and the weight's sizes are those that it takes."""
    outputs, inputs = weight.shape.shape[0], weight.shape.shape[2]
    return inputs % NF4_BLOCK == 0 and outputs % _MULTIPLE == 0 and UNPACK.works(weight.packed.device)


def _check(device: torch.device) -> bool:
    from flenwheel_core.kernels.frozen_weights import store
    from flenwheel_core.kernels.triton.unpack import unpack_rows_on_card

    for inputs in (192, 5120):
        weight = store(sample(48, inputs, device=device, seed=1), sample(48, device=device, seed=2), "nf4")
        assert isinstance(weight, Nf4Weight)
        codes, scale = unpack_rows_on_card(weight)
        expected, expected_scale = plain_unpack_rows(weight)
        if not near(scale, expected_scale, 1e-4) or not near(codes.float(), expected.float()):
            return False
    return True


UNPACK = Kernel(
    "unpack",
    "NF4 weights to fp8",
    _check,
    ops=("flenwheel::nf4_product", "flenwheel::nf4_product_backward"),
    weights=("nf4",),
    multiplies_fp8=True,
)
