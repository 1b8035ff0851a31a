"""An fp8 weight times a few vectors."""

import torch
import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def _times_vector(  # type: ignore[no-untyped-def]
    vector, codes, scales, bias, result, rows, width: tl.constexpr, tall: tl.constexpr, wide: tl.constexpr
):  # fmt: skip
    r = tl.program_id(0) * tall + tl.arange(0, tall)
    item = tl.program_id(1)
    total = tl.zeros([tall, wide], tl.float32)
    for start in range(0, width, wide):
        c = start + tl.arange(0, wide)
        inside = (r[:, None] < rows) & (c[None, :] < width)
        weight = tl.load(codes + r[:, None].to(tl.int64) * width + c[None, :], mask=inside, other=0.0).to(tl.float32)
        total += weight * tl.load(vector + item * width + c, mask=c < width, other=0.0).to(tl.float32)[None, :]
    scale = tl.load(scales + r, mask=r < rows, other=0.0)
    value = tl.sum(total, 1) * scale + tl.load(bias + r, mask=r < rows, other=0.0).to(tl.float32)
    tl.store(result + item * rows + r, value.to(result.dtype.element_ty), mask=r < rows)


def times_vector_on_card(
    vectors: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """vectors (batch, width) times the fp8 weight (rows, width), plus bias: (batch, rows)."""
    rows, width = codes.shape
    result = torch.empty(vectors.shape[0], rows, device=vectors.device, dtype=vectors.dtype)
    tall = 8
    with torch.cuda.device(vectors.device):
        _times_vector[(triton.cdiv(rows, tall), vectors.shape[0])](
            vectors.contiguous(), codes, scales, bias, result, rows, width, tall, 512, num_warps=4
        )
    return result
