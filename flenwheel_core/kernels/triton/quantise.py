"""Rows of a matrix to e4m3 codes and a scale each: one pass over a row that fits in registers, two over a wider one."""

import torch
import triton
import triton.language as tl

from flenwheel_core.kernels.triton.rows import row_scale, store_codes

_WIDEST_TILE = 4096
"""Rows up to so many values are held in registers between finding their maximum and quantising them."""
_CHUNK = 2048


@triton.jit  # type: ignore[untyped-decorator]
def _quantise_rows(x, columns, codes, scales, width, has_columns: tl.constexpr, block: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    offsets = tl.arange(0, block)
    inside = offsets < width
    values = tl.load(x + row * width + offsets, mask=inside, other=0.0).to(tl.float32)
    if has_columns:
        values = values * tl.load(columns + offsets, mask=inside, other=0.0)
    scale = row_scale(tl.max(tl.abs(values), 0))
    tl.store(scales + row, scale)
    store_codes(codes, row, width, offsets, values, scale, inside)


@triton.jit  # type: ignore[untyped-decorator]
def _quantise_wide_rows(x, columns, codes, scales, width: tl.constexpr, has_columns: tl.constexpr, block: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    largest = tl.zeros([block], tl.float32)
    for start in range(0, width, block):
        offsets = start + tl.arange(0, block)
        inside = offsets < width
        values = tl.load(x + row * width + offsets, mask=inside, other=0.0).to(tl.float32)
        if has_columns:
            values = values * tl.load(columns + offsets, mask=inside, other=0.0)
        largest = tl.maximum(largest, tl.abs(values))
    scale = row_scale(tl.max(largest, 0))
    tl.store(scales + row, scale)
    for start in range(0, width, block):
        offsets = start + tl.arange(0, block)
        inside = offsets < width
        values = tl.load(x + row * width + offsets, mask=inside, other=0.0).to(tl.float32)
        if has_columns:
            values = values * tl.load(columns + offsets, mask=inside, other=0.0)
        store_codes(codes, row, width, offsets, values, scale, inside)


def quantise_rows_on_card(x: torch.Tensor, columns: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """e4m3 codes and float32 scales (rows, 1) of x (rows, width), each column times `columns` (width,) before."""
    x = x.contiguous()
    rows, width = x.shape
    codes = torch.empty(rows, width, device=x.device, dtype=torch.float8_e4m3fn)
    scales = torch.empty(rows, 1, device=x.device, dtype=torch.float32)
    factor = scales if columns is None else columns.contiguous()
    wide = width > _WIDEST_TILE
    block = _CHUNK if wide else triton.next_power_of_2(width)
    kernel = _quantise_wide_rows if wide else _quantise_rows
    with torch.cuda.device(x.device):
        kernel[(rows,)](x, factor, codes, scales, width, columns is not None, block, num_warps=8 if wide else 4)
    return codes, scales
