"""GELU, and what lies before it in the same row, written together with the row's e4m3 codes and scale."""

import torch
import triton
import triton.language as tl

from flenwheel_core.kernels.triton.rows import row_scale, store_codes


@triton.jit  # type: ignore[untyped-decorator]
def _gelu_rows(  # type: ignore[no-untyped-def]
    before, before_stride, pre, pre_stride, x, codes, scales, head, width: tl.constexpr, block: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    largest = tl.zeros([block], tl.float32)
    for start in range(0, width, block):
        offsets = start + tl.arange(0, block)
        plain = offsets < head
        inside = offsets < width
        first = tl.load(before + row * before_stride + offsets, mask=plain, other=0.0).to(tl.float32)
        values = tl.load(pre + row * pre_stride + offsets - head, mask=inside & (offsets >= head), other=0.0)
        values = values.to(tl.float32)
        bent = values * tl.sigmoid(1.5957691216057308 * (values + 0.044715 * values * values * values))
        made = tl.where(plain, first, bent).to(x.dtype.element_ty)
        tl.store(x + row * width + offsets, made, mask=inside)
        largest = tl.maximum(largest, tl.abs(made.to(tl.float32)))
    scale = row_scale(tl.max(largest, 0))
    tl.store(scales + row, scale)
    tl.debug_barrier()  # what this program wrote is read again
    for start in range(0, width, block):
        offsets = start + tl.arange(0, block)
        inside = offsets < width
        values = tl.load(x + row * width + offsets, mask=inside, other=0.0).to(tl.float32)
        store_codes(codes, row, width, offsets, values, scale, inside)


def gelu_rows_on_card(
    before: torch.Tensor | None, pre: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`before` and GELU (tanh form) of `pre` side by side, (batch, tokens, both widths), with its codes and row scales."""
    batch, tokens, width = pre.shape
    pre = _rows_apart(pre)
    first = pre if before is None else _rows_apart(before)
    head = 0 if before is None else before.shape[2]
    x = torch.empty(batch, tokens, head + width, device=pre.device, dtype=pre.dtype)
    codes = torch.empty(batch * tokens, head + width, device=pre.device, dtype=torch.float8_e4m3fn)
    scales = torch.empty(batch * tokens, 1, device=pre.device, dtype=torch.float32)
    with torch.cuda.device(pre.device):
        _gelu_rows[(batch * tokens,)](
            first, first.stride(1), pre, pre.stride(1), x, codes, scales, head, head + width, 1024, num_warps=4
        )
    return x, codes, scales


def _rows_apart(x: torch.Tensor) -> torch.Tensor:
    """x (batch, tokens, width) itself if its rows lie at equal distances, else a copy."""
    even = x.stride(2) == 1 and (x.shape[0] == 1 or x.stride(0) == x.shape[1] * x.stride(1))
    return x if even else x.contiguous()
