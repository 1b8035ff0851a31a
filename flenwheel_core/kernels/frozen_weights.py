"""Frozen weights of linears in the storage that fits: dense, fp8 with row scales, or NF4.

Every storage is a named tuple of tensors, so that compiled functions take it as input and blocks share their code. The products with them
are in frozen_product.py: `NAME_product` is x @ W.T + bias, `NAME_product_backward` is dy @ W, both with the same quantised W.
"""

from typing import Literal, NamedTuple

import torch

from flenwheel_core.kernels.quantise import FP8, quantise_rows

Storage = Literal["dense", "fp8", "nf4"]
NF4_BLOCK = 64
ROWS_AT_ONCE = 2048
"""Rows that are quantised at a time."""
FEWEST_ROWS = 128
"""Of an fp8 product on a card: cuBLAS refuses some sizes with 32."""
BYTES_PER_WEIGHT: dict[Storage, float] = {"dense": 2.0, "fp8": 1.0, "nf4": 0.5 + 2 / NF4_BLOCK}


class DenseWeight(NamedTuple):
    """(outputs, inputs) in the compute dtype."""

    weight: torch.Tensor
    bias: torch.Tensor


class Fp8Weight(NamedTuple):
    """e4m3 codes (outputs, inputs), float32 scale a row, and optionally the codes transposed for the backward product."""

    codes: torch.Tensor
    scale: torch.Tensor
    transposed: torch.Tensor | None
    bias: torch.Tensor


class Nf4Weight(NamedTuple):
    """bitsandbytes NF4: packed codes, a scale for each block of 64, and an empty tensor that carries (outputs, inputs)."""

    packed: torch.Tensor
    absmax: torch.Tensor
    shape: torch.Tensor
    bias: torch.Tensor


FrozenWeight = DenseWeight | Fp8Weight | Nf4Weight


def store(weight: torch.Tensor, bias: torch.Tensor, storage: Storage) -> FrozenWeight:
    """The weight (outputs, inputs) in another storage, on its device."""
    if storage == "dense":
        return DenseWeight(weight, bias)
    if storage == "fp8":
        # In parts: in float32 at once, the largest weights would take more than all that loading has room for.
        parts = [quantise_rows(rows) for rows in weight.split(ROWS_AT_ONCE)]
        codes = torch.cat([part.view(torch.uint8) for part, _ in parts]).view(FP8)
        return Fp8Weight(codes, torch.cat([scale for _, scale in parts]), None, bias)
    import bitsandbytes.functional as bnb

    packed, state = bnb.quantize_4bit(weight.contiguous(), blocksize=NF4_BLOCK, quant_type="nf4")
    shape = torch.empty(weight.shape[0], 0, weight.shape[1], device=weight.device)
    return Nf4Weight(packed, state.absmax.to(torch.bfloat16), shape, bias)


def dequantise(weight: FrozenWeight, dtype: torch.dtype) -> torch.Tensor:
    """(outputs, inputs) in `dtype`."""
    if isinstance(weight, DenseWeight):
        return weight.weight.to(dtype)
    if isinstance(weight, Fp8Weight):
        return (weight.codes.to(torch.float32) * weight.scale).to(dtype)
    import bitsandbytes  # noqa: F401 - registers the operator

    outputs, _, inputs = weight.shape.shape
    # As one row: on processors with AVX-512 bitsandbytes 0.50 gives wrong weights where rows are no multiple of a block.
    row = torch.ops.bitsandbytes.dequantize_4bit(
        weight.packed, weight.absmax.float(), NF4_BLOCK, "nf4", [outputs * inputs], dtype
    )
    return row.view(outputs, inputs)


def filled(rows: torch.Tensor, count: int) -> torch.Tensor:
    """(m, n) as (count, n), zeros below; fp8 codes too, which cannot be concatenated on every card."""
    out = torch.zeros((count, rows.shape[1]), device=rows.device, dtype=torch.float32).to(rows.dtype)
    out[: len(rows)] = rows
    return out


def scaled_product(
    a: torch.Tensor, a_scale: torch.Tensor, b: torch.Tensor, b_scale: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """(a * a_scale) @ (b * b_scale).T + bias for fp8 codes a (m, k) and b (n, k) with row scales; bfloat16.

    Off the card it is computed in float32: the same quantisation, for tests and for the nano models.
    """
    if a.device.type == "cuda":
        rows = len(a)
        if rows < FEWEST_ROWS:
            a, a_scale = filled(a, FEWEST_ROWS), filled(a_scale, FEWEST_ROWS)
        product = torch._scaled_mm(
            a, b.t(), scale_a=a_scale, scale_b=b_scale.t(), bias=bias, out_dtype=torch.bfloat16, use_fast_accum=True
        )
        return product[:rows]
    product = (a.float() * a_scale) @ (b.float() * b_scale).t()
    return product if bias is None else product + bias
