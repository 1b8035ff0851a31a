"""Products with frozen weights as operators of their own, opaque to the compiler.

The compiler would copy the product before it adds the adapter's part, and would keep what only the backward pass needs
(fp8 weights transposed, NF4 weights unpacked) from the forward pass on. Here the adapter's part is added in place, and
transposing and unpacking happen where the product is computed and are forgotten with it.
"""

from functools import lru_cache

import torch

from flenwheel_core.kernels.check import kernel_works
from flenwheel_core.kernels.frozen_weights import (
    FP8,
    Nf4Weight,
    dequantise,
    quantise_rows,
    scaled_product,
    transposed_codes,
)


@torch.library.custom_op("flenwheel::quantise", mutates_args=())
def quantise(x: torch.Tensor, columns: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """e4m3 codes and float32 scales (rows, 1) of x (rows, width), each column times `columns` (width,) before."""
    if kernel_works("quantise", x.device):
        from flenwheel_core.kernels.card_kernels import quantise_rows_on_card

        return quantise_rows_on_card(x, columns)
    return quantise_rows(x if columns is None else x.float() * columns)


@quantise.register_fake
def _(x: torch.Tensor, columns: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    return x.new_empty(x.shape, dtype=FP8), x.new_empty((x.shape[0], 1), dtype=torch.float32)


LARGEST_RANK = 128
"""Sums of ranks up to this are added by our own kernel, which costs no more than reading and writing y."""


def add_product(
    y: torch.Tensor, left: torch.Tensor, right: torch.Tensor, parts: int = 1, part_width: int = 0
) -> torch.Tensor:
    """y += left @ right, in place; `parts` and `part_width` as in Adapter.parts."""
    if left.shape[1] <= LARGEST_RANK and y.dtype == torch.bfloat16 and kernel_works("add", y.device):
        from flenwheel_core.kernels.card_kernels import add_product_on_card

        return add_product_on_card(y, left, right, parts, part_width)
    return y.addmm_(left, right)


@torch.library.custom_op("flenwheel::times_vector", mutates_args=())
def times_vector(vectors: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """vectors (batch, inputs) times the fp8 weight (outputs, inputs), plus bias: it is the weight's bytes that cost."""
    if kernel_works("vector", vectors.device):
        from flenwheel_core.kernels.card_kernels import times_vector_on_card

        return times_vector_on_card(vectors, codes, scales, bias)
    product = (codes.float()[None] * vectors.float()[:, None, :]).sum(-1)
    return (product * scales.t() + bias).to(vectors.dtype)


@times_vector.register_fake
def _(vectors: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return vectors.new_empty((vectors.shape[0], codes.shape[0]))


@torch.library.custom_op("flenwheel::fp8_product", mutates_args=())
def fp8_product(
    x: torch.Tensor,
    x_scale: torch.Tensor,
    codes: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor,
    left: torch.Tensor | None,
    right: torch.Tensor | None,
    parts: int,
    part_width: int,
    dtype: torch.dtype,
) -> torch.Tensor:
    """x W^T + bias + left @ right in `dtype`; x (rows, inputs) and codes (outputs, inputs) are e4m3 with row scales."""
    y = scaled_product(x, x_scale, codes, scale, bias).to(dtype)
    return y if left is None or right is None else add_product(y, left, right, parts, part_width)


@fp8_product.register_fake
def _(
    x: torch.Tensor,
    x_scale: torch.Tensor,
    codes: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor,
    left: torch.Tensor | None,
    right: torch.Tensor | None,
    parts: int,
    part_width: int,
    dtype: torch.dtype,
) -> torch.Tensor:
    return x.new_empty((x.shape[0], codes.shape[0]), dtype=dtype)


@torch.library.custom_op("flenwheel::fp8_product_backward", mutates_args=())
def fp8_product_backward(
    dy: torch.Tensor,
    codes: torch.Tensor,
    scale: torch.Tensor,
    transposed: torch.Tensor | None,
    left: torch.Tensor | None,
    right: torch.Tensor | None,
) -> torch.Tensor:
    """dy W + left @ right. The row scale of W runs along the summed dimension: it goes into dy before dy is quantised."""
    dy_codes, dy_scale = quantise(dy, scale.flatten())
    columns = _transposed(codes) if transposed is None else transposed
    ones = _ones(columns.shape[0], dy.device)
    dx = scaled_product(dy_codes, dy_scale, columns, ones).to(dy.dtype)
    return dx if left is None or right is None else add_product(dx, left, right)


@fp8_product_backward.register_fake
def _(
    dy: torch.Tensor,
    codes: torch.Tensor,
    scale: torch.Tensor,
    transposed: torch.Tensor | None,
    left: torch.Tensor | None,
    right: torch.Tensor | None,
) -> torch.Tensor:
    return dy.new_empty((dy.shape[0], codes.shape[1]))


@torch.library.custom_op("flenwheel::nf4_product", mutates_args=())
def nf4_product(
    x: torch.Tensor,
    packed: torch.Tensor,
    absmax: torch.Tensor,
    shape: torch.Tensor,
    bias: torch.Tensor,
    left: torch.Tensor | None,
    right: torch.Tensor | None,
) -> torch.Tensor:
    """x W^T + bias + left @ right for an NF4 weight (`shape` as in Nf4Weight)."""
    weight = dequantise(Nf4Weight(packed, absmax, shape, bias), x.dtype)
    y = torch.nn.functional.linear(x, weight, bias)
    return y if left is None or right is None else add_product(y, left, right)


@nf4_product.register_fake
def _(
    x: torch.Tensor,
    packed: torch.Tensor,
    absmax: torch.Tensor,
    shape: torch.Tensor,
    bias: torch.Tensor,
    left: torch.Tensor | None,
    right: torch.Tensor | None,
) -> torch.Tensor:
    return x.new_empty((x.shape[0], shape.shape[0]))


@torch.library.custom_op("flenwheel::nf4_product_backward", mutates_args=())
def nf4_product_backward(
    dy: torch.Tensor,
    packed: torch.Tensor,
    absmax: torch.Tensor,
    shape: torch.Tensor,
    bias: torch.Tensor,
    left: torch.Tensor | None,
    right: torch.Tensor | None,
) -> torch.Tensor:
    """dy W + left @ right for an NF4 weight."""
    dx = dy @ dequantise(Nf4Weight(packed, absmax, shape, bias), dy.dtype)
    return dx if left is None or right is None else add_product(dx, left, right)


@nf4_product_backward.register_fake
def _(
    dy: torch.Tensor,
    packed: torch.Tensor,
    absmax: torch.Tensor,
    shape: torch.Tensor,
    bias: torch.Tensor,
    left: torch.Tensor | None,
    right: torch.Tensor | None,
) -> torch.Tensor:
    return dy.new_empty((dy.shape[0], shape.shape[2]))


@torch.library.custom_op("flenwheel::dense_product", mutates_args=())
def dense_product(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, left: torch.Tensor, right: torch.Tensor
) -> torch.Tensor:
    """x W^T + bias + left @ right; weight (outputs, inputs), or a transposed view of it for the backward product."""
    return add_product(torch.nn.functional.linear(x, weight, bias), left, right)


@dense_product.register_fake
def _(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, left: torch.Tensor, right: torch.Tensor
) -> torch.Tensor:
    return x.new_empty((x.shape[0], weight.shape[0]))


def _transposed(codes: torch.Tensor) -> torch.Tensor:
    if kernel_works("transpose", codes.device):
        from flenwheel_core.kernels.card_kernels import transpose_on_card

        return transpose_on_card(codes)
    return transposed_codes(codes)


@lru_cache(maxsize=64)
def _ones(count: int, device: torch.device) -> torch.Tensor:
    return torch.ones(count, 1, device=device, dtype=torch.float32)
