"""Layer norm, scale and shift of rows, written together with their e4m3 codes and scales."""

import torch
import triton
import triton.language as tl

from flenwheel_core.kernels.triton.rows import row_scale, store_codes


@triton.jit  # type: ignore[untyped-decorator]
def _modulated_rows(  # type: ignore[no-untyped-def]
    x, shift, scale, shift_stride, scale_stride, y, codes, row_scales, tokens, width, eps, block: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    batch = row // tokens
    offsets = tl.arange(0, block)
    inside = offsets < width
    values = tl.load(x + row * width + offsets, mask=inside, other=0.0).to(tl.float32)
    centred = tl.where(inside, values - tl.sum(values, 0) / width, 0.0)
    centred = centred * tl.rsqrt(tl.sum(centred * centred, 0) / width + eps)
    factor = 1 + tl.load(scale + batch * scale_stride + offsets, mask=inside, other=0.0).to(tl.float32)
    centred = centred * factor + tl.load(shift + batch * shift_stride + offsets, mask=inside, other=0.0).to(tl.float32)
    made = centred.to(y.dtype.element_ty)
    tl.store(y + row * width + offsets, made, mask=inside)
    values = made.to(tl.float32)
    found = row_scale(tl.max(tl.abs(values), 0))
    tl.store(row_scales + row, found)
    store_codes(codes, row, width, offsets, values, found, inside)


def modulated_rows_on_card(
    x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Layer norm of x (batch, tokens, width), times 1 + scale, plus shift (batch, 1, width): with its codes and row scales."""
    x = x.contiguous()
    batch, tokens, width = x.shape
    y = torch.empty_like(x)
    codes = torch.empty(batch * tokens, width, device=x.device, dtype=torch.float8_e4m3fn)
    row_scales = torch.empty(batch * tokens, 1, device=x.device, dtype=torch.float32)
    with torch.cuda.device(x.device):
        _modulated_rows[(batch * tokens,)](
            x, shift, scale, shift.stride(0), scale.stride(0), y, codes, row_scales, tokens, width, eps,
            triton.next_power_of_2(width), num_warps=4,
        )  # fmt: skip
    return y, codes, row_scales
