"""Products with frozen weights as operators of their own, opaque to the compiler.

The compiler would copy the product before it adds the adapter's part, and would keep what only the backward pass needs
(fp8 weights transposed, NF4 weights unpacked) from the forward pass on. Here the adapter's part is added in place, and
transposing and unpacking happen where the product is computed and are forgotten with it. README.md tells it at length.

A shape function (`register_fake`) names only the arguments that it reads.
"""

from functools import lru_cache
from typing import cast

import torch

from flenwheel_core.kernels.add import add_product
from flenwheel_core.kernels.frozen_weights import Nf4Weight, dequantise, scaled_product
from flenwheel_core.kernels.quantise import quantise
from flenwheel_core.kernels.transpose import transpose
from flenwheel_core.kernels.unpack import unpack_rows, unpacks_on_card


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
def _(x: torch.Tensor, x_scale: torch.Tensor, codes: torch.Tensor, *rest: object) -> torch.Tensor:
    return x.new_empty((x.shape[0], codes.shape[0]), dtype=cast(torch.dtype, rest[-1]))


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
    columns = transpose(codes) if transposed is None else transposed
    ones = _ones(columns.shape[0], dy.device)
    dx = scaled_product(dy_codes, dy_scale, columns, ones).to(dy.dtype)
    return dx if left is None or right is None else add_product(dx, left, right)


@fp8_product_backward.register_fake
def _(dy: torch.Tensor, codes: torch.Tensor, *_: object) -> torch.Tensor:
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
    """x W^T + bias + left @ right for an NF4 weight (`shape` as in Nf4Weight); in fp8 on a card that multiplies it."""
    weight = Nf4Weight(packed, absmax, shape, bias)
    if unpacks_on_card(weight):
        x_codes, x_scale = quantise(x, None)
        codes, scale = unpack_rows(weight)
        y = scaled_product(x_codes, x_scale, codes, scale, bias).to(x.dtype)
    else:
        y = torch.nn.functional.linear(x, dequantise(weight, x.dtype), bias)
    return y if left is None or right is None else add_product(y, left, right)


@nf4_product.register_fake
def _(x: torch.Tensor, packed: torch.Tensor, absmax: torch.Tensor, shape: torch.Tensor, *_: object) -> torch.Tensor:
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
    weight = Nf4Weight(packed, absmax, shape, bias)
    if unpacks_on_card(weight):
        return fp8_product_backward(dy, *unpack_rows(weight), None, left, right)
    dx = dy @ dequantise(weight, dy.dtype)
    return dx if left is None or right is None else add_product(dx, left, right)


@nf4_product_backward.register_fake
def _(dy: torch.Tensor, packed: torch.Tensor, absmax: torch.Tensor, shape: torch.Tensor, *_: object) -> torch.Tensor:
    return dy.new_empty((dy.shape[0], shape.shape[2]))


@torch.library.custom_op("flenwheel::dense_product", mutates_args=())
def dense_product(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, left: torch.Tensor, right: torch.Tensor
) -> torch.Tensor:
    """x W^T + bias + left @ right; weight (outputs, inputs), or a transposed view of it for the backward product."""
    return add_product(torch.nn.functional.linear(x, weight, bias), left, right)


@dense_product.register_fake
def _(x: torch.Tensor, weight: torch.Tensor, *_: object) -> torch.Tensor:
    return x.new_empty((x.shape[0], weight.shape[0]))


@lru_cache(maxsize=64)
def _ones(count: int, device: torch.device) -> torch.Tensor:
    return torch.ones(count, 1, device=device, dtype=torch.float32)
