"""A product of low rank added to a matrix in place."""

import torch
import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def _add_product(  # type: ignore[no-untyped-def]
    y, left, right, rows, columns, all_ranks, rank, parts, part_width, right_row, right_column,
    tall: tl.constexpr, wide: tl.constexpr, inner: tl.constexpr,
):  # fmt: skip
    r = tl.program_id(1) * tall + tl.arange(0, tall)
    c = tl.program_id(0) * wide + tl.arange(0, wide)
    part = tl.minimum(tl.program_id(0) * wide // part_width, parts - 1)
    i = tl.arange(0, inner)
    inside = (r[:, None] < rows) & (c[None, :] < columns)
    place = y + r[:, None].to(tl.int64) * columns + c[None, :]
    before = tl.load(place, mask=inside, other=0.0)
    a = tl.load(
        left + r[:, None] * all_ranks + part * rank + i[None, :],
        mask=(r[:, None] < rows) & (i[None, :] < rank),
        other=0.0,
    )
    b = tl.load(
        right + (part * rank + i[:, None]) * right_row + c[None, :] * right_column,
        mask=(i[:, None] < rank) & (c[None, :] < columns),
        other=0.0,
    )
    total = tl.dot(a, b) + before.to(tl.float32)
    tl.store(place, total.to(before.dtype), mask=inside)


def add_product_on_card(
    y: torch.Tensor, left: torch.Tensor, right: torch.Tensor, parts: int, part_width: int
) -> torch.Tensor:
    """y (rows, columns) += left (rows, ranks) @ right (ranks, columns), in place; at the speed of reading and writing y.

    With several `parts`, right is block-diagonal: an equal share of the ranks for each `part_width` columns, and the last
    share for all the rest.
    """
    rows, columns = y.shape
    all_ranks = left.shape[1]
    tall, wide = 128, 128
    if part_width % wide:
        parts = 1
    rank = all_ranks // parts
    inner = max(16, triton.next_power_of_2(rank))
    left = left.contiguous()
    with torch.cuda.device(y.device):
        _add_product[(triton.cdiv(columns, wide), triton.cdiv(rows, tall))](
            y,
            left,
            right,
            rows,
            columns,
            all_ranks,
            rank,
            parts,
            part_width if parts > 1 else columns,
            *right.stride(),
            tall,
            wide,
            inner,
            num_warps=8,
        )
    return y
