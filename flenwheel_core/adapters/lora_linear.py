"""A frozen linear with LoRA adapters on parts of its outputs: one product forward, one backward.

Linears that share their input (q, k, v and the MLP of a single block) are one weight with stacked outputs. Their A
matrices are stacked too, and their B matrices form a block diagonal, so that the adapters cost three small products
instead of two for each. Frozen weights get no gradient, so the backward pass is dx and the adapters' own.
"""

from typing import NamedTuple, cast

import torch

from flenwheel_core.kernels.frozen_product import (
    dense_product,
    fp8_product,
    fp8_product_backward,
    nf4_product,
    nf4_product_backward,
)
from flenwheel_core.kernels.frozen_weights import Fp8Weight, FrozenWeight, Nf4Weight
from flenwheel_core.kernels.quantise import quantise


class Adapter(NamedTuple):
    """LoRA matrices of the parts of a fused linear, float32: a (rank, inputs), b (outputs of the part, rank)."""

    a: tuple[torch.Tensor, ...]
    b: tuple[torch.Tensor, ...]
    scale: tuple[float, ...]
    start: tuple[int, ...]
    """First output of each part."""

    def parts(self) -> tuple[int, int]:
        """(count, outputs of each but the last) if all have the same rank and lie side by side from the first output on;
        else (1, 0): the stacked B is taken as a full matrix."""
        count, rank = len(self.b), self.b[0].shape[1]
        width = self.start[1] if count > 1 else 0
        regular = all(b.shape[1] == rank for b in self.b) and self.start == tuple(i * width for i in range(count))
        return (count, width) if count > 1 and regular and all(b.shape[0] == width for b in self.b[:-1]) else (1, 0)


def lora_linear(
    x: torch.Tensor,
    weight: FrozenWeight,
    adapter: Adapter | None,
    *,
    compact: bool,
    quantised: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """x (batch, tokens, inputs) to (batch, tokens, outputs).

    `compact` keeps the input for the adapter's gradient in fp8 instead of bfloat16, where the weight is fp8; `quantised` is
    the input's codes and row scales, if they are there already.
    """
    flat = x.reshape(-1, x.shape[-1])
    if adapter is None:
        a = b = None
    else:
        a = torch.cat([part.to(x.dtype) for part in adapter.a])
        b = _block_diagonal(adapter, outputs=weight.bias.shape[0], dtype=x.dtype)
    if isinstance(weight, Fp8Weight):
        given = (None, None) if quantised is None else quantised
        parts = (1, 0) if adapter is None else adapter.parts()
        frozen = weight.codes, weight.scale, weight.transposed, weight.bias
        y = _Fp8Lora.apply(flat, a, b, *frozen, compact, *given, *parts)
    elif isinstance(weight, Nf4Weight):
        y = _Nf4Lora.apply(flat, a, b, weight.packed, weight.absmax, weight.shape, weight.bias)
    elif a is None or b is None:
        y = torch.nn.functional.linear(flat, weight.weight, weight.bias)
    else:
        y = _DenseLora.apply(flat, a, b, weight.weight, weight.bias)
    return cast(torch.Tensor, y).reshape(*x.shape[:-1], -1)


def _block_diagonal(adapter: Adapter, *, outputs: int, dtype: torch.dtype) -> torch.Tensor:
    """(outputs, sum of ranks), each part's rows at its own outputs, with the scale in it."""
    columns = sum(part.shape[1] for part in adapter.b)
    rows: list[torch.Tensor] = []
    row = column = 0
    for part, scale, start in zip(adapter.b, adapter.scale, adapter.start, strict=True):
        if start > row:
            rows.append(part.new_zeros(start - row, columns, dtype=dtype))
        right = columns - column - part.shape[1]
        rows.append(torch.nn.functional.pad((part * scale).to(dtype), (column, right)))
        row, column = start + part.shape[0], column + part.shape[1]
    if outputs > row:
        rows.append(adapter.b[0].new_zeros(outputs - row, columns, dtype=dtype))
    return rows[0] if len(rows) == 1 else torch.cat(rows)


class _Fp8Lora(torch.autograd.Function):
    """The fp8 linear with or without adapter (a and b None)."""

    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx, x, a, b, codes, scale, transposed, bias, compact, x_codes, x_scale, parts, part_width
    ):
        if x_codes is None:
            x_codes, x_scale = quantise(x, None)
        if a is None:
            ctx.save_for_backward(None, None, None, None, None, codes, scale, transposed)
            return fp8_product(x_codes, x_scale, codes, scale, bias, None, None, 1, 0, x.dtype)
        h = x @ a.t()
        kept = (x_codes, x_scale) if compact else (x, None)
        ctx.save_for_backward(*kept, h, a, b, codes, scale, transposed)
        return fp8_product(x_codes, x_scale, codes, scale, bias, h, b.t(), parts, part_width, x.dtype)

    @staticmethod
    def backward(ctx, dy):  # type: ignore[no-untyped-def]
        x, x_scale, h, a, b, codes, scale, transposed = ctx.saved_tensors
        nothing = (None,) * 9
        if a is None:
            return fp8_product_backward(dy, codes, scale, transposed, None, None), None, None, *nothing
        dh = dy @ b
        db = dy.t() @ h
        # With x in fp8 its row scale goes into dh.
        da = dh.t() @ x if x_scale is None else (dh * x_scale).to(dh.dtype).t() @ x.to(dh.dtype)
        return fp8_product_backward(dy, codes, scale, transposed, dh, a), da, db, *nothing


class _Nf4Lora(torch.autograd.Function):
    """Unpacked for the product and forgotten again: only the packed weight is kept for the backward pass."""

    @staticmethod
    def forward(ctx, x, a, b, packed, absmax, shape, bias):  # type: ignore[no-untyped-def]
        if a is None:
            ctx.save_for_backward(None, None, None, None, packed, absmax, shape, bias)
            return nf4_product(x, packed, absmax, shape, bias, None, None)
        h = x @ a.t()
        ctx.save_for_backward(x, h, a, b, packed, absmax, shape, bias)
        return nf4_product(x, packed, absmax, shape, bias, h, b.t())

    @staticmethod
    def backward(ctx, dy):  # type: ignore[no-untyped-def]
        x, h, a, b, *weight = ctx.saved_tensors
        nothing = None, None, None, None
        if a is None:
            return nf4_product_backward(dy, *weight, None, None), None, None, *nothing
        dh = dy @ b
        return nf4_product_backward(dy, *weight, dh, a), dh.t() @ x, dy.t() @ h, *nothing


class _DenseLora(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, a, b, weight, bias):  # type: ignore[no-untyped-def]
        h = x @ a.t()
        ctx.save_for_backward(x, h, a, b, weight)
        return dense_product(x, weight, bias, h, b.t())

    @staticmethod
    def backward(ctx, dy):  # type: ignore[no-untyped-def]
        x, h, a, b, weight = ctx.saved_tensors
        dh = dy @ b
        return dense_product(dy, weight.t(), None, dh, a), dh.t() @ x, dy.t() @ h, None, None
