"""The adapter's part, a product of low rank, added to the frozen product in place."""

import torch

from flenwheel_core.kernels.kernel import Kernel, near, sample

LARGEST_RANK = 128
"""Sums of ranks up to this are added by our own kernel, which costs no more than reading and writing y."""


def add_product(
    y: torch.Tensor, left: torch.Tensor, right: torch.Tensor, parts: int = 1, part_width: int = 0
) -> torch.Tensor:
    """y (rows, columns) += left (rows, ranks) @ right (ranks, columns), in place; `parts` and `part_width` as in Adapter.parts.

    No operator of its own: only opaque products call it, because the compiler copies y before it lets anything change it.
    """
    if left.shape[1] <= LARGEST_RANK and y.dtype == torch.bfloat16 and ADD.works(y.device):
        from flenwheel_core.kernels.triton.add import add_product_on_card

        return add_product_on_card(y, left, right, parts, part_width)
    return y.addmm_(left, right)


def _check(device: torch.device) -> bool:
    from flenwheel_core.kernels.triton.add import add_product_on_card

    y, left, right = (sample(*shape, device=device, seed=i) for i, shape in enumerate(((70, 300), (70, 48), (300, 48))))
    left = left / 8
    right[:128, 16:] = 0
    right[128:256, :16] = 0
    right[128:256, 32:] = 0
    right[256:, :32] = 0
    expected = y.float() + left.float() @ right.float().t()
    return all(near(add_product_on_card(y.clone(), left, right.t(), *parts), expected) for parts in ((1, 0), (3, 128)))


ADD = Kernel(
    "add",
    "the adapter's part added in place",
    _check,
    ops=tuple(
        f"flenwheel::{name}"
        for name in (
            "fp8_product",
            "fp8_product_backward",
            "nf4_product",
            "nf4_product_backward",
            "dense_product",
        )
    ),
)
