"""Triton kernels for fp8 training on a CUDA card: quantising rows in one pass, transposing codes.

Imported only when a tensor lies on a card: Triton is not needed, and not there, on a CPU.
"""

import torch
import triton
import triton.language as tl

WIDEST_ROW = 32768
_TILE = 128


@triton.jit  # type: ignore[untyped-decorator]
def _quantise_rows(x, columns, codes, scales, width, has_columns: tl.constexpr, block: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    offsets = tl.arange(0, block)
    inside = offsets < width
    values = tl.load(x + row * width + offsets, mask=inside, other=0.0).to(tl.float32)
    if has_columns:
        values = values * tl.load(columns + offsets, mask=inside, other=0.0)
    scale = tl.maximum(tl.max(tl.abs(values), 0), 1e-12) / 448.0
    tl.store(scales + row, scale)
    kept = tl.minimum(tl.maximum(values / scale, -448.0), 448.0)
    tl.store(codes + row * width + offsets, kept.to(tl.float8e4nv), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _transpose(x, y, rows, columns, tile_size: tl.constexpr):  # type: ignore[no-untyped-def]
    r = tl.program_id(0).to(tl.int64) * tile_size + tl.arange(0, tile_size)
    c = tl.program_id(1).to(tl.int64) * tile_size + tl.arange(0, tile_size)
    inside = (r[:, None] < rows) & (c[None, :] < columns)
    tile = tl.load(x + r[:, None] * columns + c[None, :], mask=inside, other=0)
    turned = (c[:, None] < columns) & (r[None, :] < rows)
    tl.store(y + c[:, None] * rows + r[None, :], tl.trans(tile), mask=turned)


def quantise_rows_on_card(x: torch.Tensor, columns: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """e4m3 codes and float32 scales (rows, 1) of x (rows, width), each column times `columns` (width,) before."""
    x = x.contiguous()
    rows, width = x.shape
    codes = torch.empty(rows, width, device=x.device, dtype=torch.float8_e4m3fn)
    scales = torch.empty(rows, 1, device=x.device, dtype=torch.float32)
    block = triton.next_power_of_2(width)
    factor = scales if columns is None else columns.contiguous()
    warps = min(16, max(4, block // 1024))
    with torch.cuda.device(x.device):
        _quantise_rows[(rows,)](x, factor, codes, scales, width, columns is not None, block, num_warps=warps)
    return codes, scales


def transpose_on_card(codes: torch.Tensor) -> torch.Tensor:
    """Bytes (rows, columns) as contiguous (columns, rows)."""
    rows, columns = codes.shape
    turned = torch.empty(columns, rows, device=codes.device, dtype=codes.dtype)
    grid = (triton.cdiv(rows, _TILE), triton.cdiv(columns, _TILE))
    with torch.cuda.device(codes.device):
        _transpose[grid](codes.view(torch.uint8), turned.view(torch.uint8), rows, columns, _TILE, num_warps=8)
    return turned
