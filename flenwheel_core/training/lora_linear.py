"""A frozen linear with LoRA adapters on parts of its outputs: one product forward, one backward.

Linears that share their input (q, k, v and the MLP of a single block) are one weight with stacked outputs. Their A
matrices are stacked too, and their B matrices form a block diagonal, so that the adapters cost three small products
instead of two for each. Frozen weights get no gradient, so the backward pass is dx and the adapters' own.
"""

from typing import NamedTuple, cast

import torch

from flenwheel_core.training.storage import (
    DenseWeight,
    Fp8Weight,
    FrozenWeight,
    Nf4Weight,
    dequantise,
    quantise_rows,
    scaled_product,
    transposed_codes,
)


class Adapter(NamedTuple):
    """LoRA matrices of the parts of a fused linear, float32: a (rank, inputs), b (outputs of the part, rank)."""

    a: tuple[torch.Tensor, ...]
    b: tuple[torch.Tensor, ...]
    scale: tuple[float, ...]
    start: tuple[int, ...]
    """First output of each part."""


def lora_linear(x: torch.Tensor, weight: FrozenWeight, adapter: Adapter | None, *, compact: bool) -> torch.Tensor:
    """x (batch, tokens, inputs) to (batch, tokens, outputs).

    `compact` keeps the input for the adapter's gradient in fp8 instead of bfloat16, where the weight is fp8.
    """
    flat = x.reshape(-1, x.shape[-1])
    if adapter is None:
        a = b = None
    else:
        a = torch.cat([part.to(x.dtype) for part in adapter.a])
        b = _block_diagonal(adapter, outputs=weight.bias.shape[0], dtype=x.dtype)
    if isinstance(weight, Fp8Weight):
        if a is None or b is None:
            y = _Fp8.apply(flat, weight.codes, weight.scale, weight.transposed, weight.bias)
        else:
            y = _Fp8Lora.apply(flat, a, b, weight.codes, weight.scale, weight.transposed, weight.bias, compact)
    else:
        y = _dense(flat, weight)
        if a is not None and b is not None:
            y = torch.addmm(y, flat @ a.t(), b.t())
    return cast(torch.Tensor, y).reshape(*x.shape[:-1], -1)


def _dense(flat: torch.Tensor, weight: FrozenWeight) -> torch.Tensor:
    if isinstance(weight, DenseWeight):
        return torch.nn.functional.linear(flat, weight.weight, weight.bias)
    assert isinstance(weight, Nf4Weight)
    return cast(torch.Tensor, _Nf4.apply(flat, weight.packed, weight.absmax, weight.shape, weight.bias))


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


def _fp8_forward(
    x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x_codes, x_scale = quantise_rows(x)
    return scaled_product(x_codes, x_scale, codes, scale, bias).to(x.dtype), x_codes, x_scale


def _fp8_backward(
    dy: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, transposed: torch.Tensor | None
) -> torch.Tensor:
    """dy @ W. The weight's row scale runs along the summed dimension, so it goes into dy before dy is quantised."""
    dy_codes, dy_scale = quantise_rows(dy.float() * scale.t())
    columns = transposed_codes(codes) if transposed is None else transposed
    ones = torch.ones(columns.shape[0], 1, device=dy.device, dtype=torch.float32)
    return scaled_product(dy_codes, dy_scale, columns, ones).to(dy.dtype)


class _Fp8(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, codes, scale, transposed, bias):  # type: ignore[no-untyped-def]
        y, _, _ = _fp8_forward(x, codes, scale, bias)
        ctx.save_for_backward(codes, scale, transposed)
        return y

    @staticmethod
    def backward(ctx, dy):  # type: ignore[no-untyped-def]
        codes, scale, transposed = ctx.saved_tensors
        return _fp8_backward(dy, codes, scale, transposed), None, None, None, None


class _Fp8Lora(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, a, b, codes, scale, transposed, bias, compact):  # type: ignore[no-untyped-def]
        y, x_codes, x_scale = _fp8_forward(x, codes, scale, bias)
        h = x @ a.t()
        y = torch.addmm(y, h, b.t())
        kept = (x_codes, x_scale) if compact else (x, None)
        ctx.save_for_backward(*kept, h, a, b, codes, scale, transposed)
        return y

    @staticmethod
    def backward(ctx, dy):  # type: ignore[no-untyped-def]
        x, x_scale, h, a, b, codes, scale, transposed = ctx.saved_tensors
        dh = dy @ b
        db = dy.t() @ h
        # With x in fp8 its row scale goes into dh.
        da = dh.t() @ x if x_scale is None else (dh * x_scale).to(dh.dtype).t() @ x.to(dh.dtype)
        dx = torch.addmm(_fp8_backward(dy, codes, scale, transposed), dh, a)
        return dx, da, db, None, None, None, None, None


class _Nf4(torch.autograd.Function):
    """Dequantised for the product and forgotten again: only the packed weight is kept for the backward pass."""

    @staticmethod
    def forward(ctx, x, packed, absmax, shape, bias):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(packed, absmax, shape, bias)
        return torch.nn.functional.linear(x, dequantise(Nf4Weight(packed, absmax, shape, bias), x.dtype), bias)

    @staticmethod
    def backward(ctx, dy):  # type: ignore[no-untyped-def]
        return dy @ dequantise(Nf4Weight(*ctx.saved_tensors), dy.dtype), None, None, None, None
