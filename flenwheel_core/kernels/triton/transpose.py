"""Bytes of a matrix, transposed."""

import torch
import triton
import triton.language as tl

_TILE = 128


@triton.jit  # type: ignore[untyped-decorator]
def _transpose(x, y, rows, columns, tile_size: tl.constexpr):  # type: ignore[no-untyped-def]
    r = tl.program_id(0).to(tl.int64) * tile_size + tl.arange(0, tile_size)
    c = tl.program_id(1).to(tl.int64) * tile_size + tl.arange(0, tile_size)
    inside = (r[:, None] < rows) & (c[None, :] < columns)
    tile = tl.load(x + r[:, None] * columns + c[None, :], mask=inside, other=0)
    turned = (c[:, None] < columns) & (r[None, :] < rows)
    tl.store(y + c[:, None] * rows + r[None, :], tl.trans(tile), mask=turned)


def transpose_on_card(codes: torch.Tensor) -> torch.Tensor:
    """Bytes (rows, columns) as contiguous (columns, rows)."""
    rows, columns = codes.shape
    turned = torch.empty(columns, rows, device=codes.device, dtype=codes.dtype)
    grid = (triton.cdiv(rows, _TILE), triton.cdiv(columns, _TILE))
    with torch.cuda.device(codes.device):
        _transpose[grid](codes.view(torch.uint8), turned.view(torch.uint8), rows, columns, _TILE, num_warps=8)
    return turned
