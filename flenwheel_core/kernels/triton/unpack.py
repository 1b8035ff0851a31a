"""NF4 codes to e4m3 codes: a pass over the packed bytes, and one over the blocks' magnitudes to find each row's largest."""

from functools import lru_cache

import torch
import triton
import triton.language as tl

from flenwheel_core.kernels.frozen_weights import NF4_BLOCK, Nf4Weight
from flenwheel_core.kernels.triton.rows import row_scale

_BLOCKS_AT_ONCE = 32


@triton.jit  # type: ignore[untyped-decorator]
def _unpack_rows(  # type: ignore[no-untyped-def]
    packed,
    absmax,
    levels,
    codes,
    scales,
    width: tl.constexpr,
    nf4_block: tl.constexpr,
    tall: tl.constexpr,
    magnitudes: tl.constexpr,
):
    """A program unpacks a row, `tall` blocks of NF4 at a time; a byte holds two neighbours, the first in its upper half."""
    row = tl.program_id(0).to(tl.int64)
    parts: tl.constexpr = width // nf4_block
    bytes_of_block: tl.constexpr = nf4_block // 2
    packed += row * (width // 2)
    absmax += row * parts
    codes += row * width
    every = tl.arange(0, magnitudes)
    largest = tl.load(absmax + every, mask=every < parts, other=0.0).to(tl.float32)
    scale = row_scale(tl.max(largest, 0))
    tl.store(scales + row, scale)
    for start in range(0, parts, tall):
        part = start + tl.arange(0, tall)
        inside = (part < parts)[:, None]
        pair = tl.load(
            packed + part[:, None] * bytes_of_block + tl.arange(0, bytes_of_block)[None, :], mask=inside, other=0
        )
        pair = pair.to(tl.int32)
        values = tl.interleave(tl.load(levels + (pair >> 4)), tl.load(levels + (pair & 15)))
        magnitude = tl.load(absmax + part, mask=part < parts, other=0.0).to(tl.float32) / scale
        values = tl.minimum(tl.maximum(values * magnitude[:, None], -448.0), 448.0)
        offsets = part[:, None] * nf4_block + tl.arange(0, nf4_block)[None, :]
        tl.store(codes + offsets, values.to(tl.float8e4nv), mask=inside)


@lru_cache(maxsize=8)
def _levels(device: torch.device) -> torch.Tensor:
    """The 16 numbers of NF4, as bitsandbytes names them."""
    import bitsandbytes.functional as bnb

    table: torch.Tensor = bnb.get_4bit_type("nf4", device=str(device))
    return table.float().contiguous()


def unpack_rows_on_card(weight: Nf4Weight) -> tuple[torch.Tensor, torch.Tensor]:
    """e4m3 codes (outputs, inputs) and float32 scales (outputs, 1); inputs are a multiple of a block of NF4."""
    rows, width = weight.shape.shape[0], weight.shape.shape[2]
    device = weight.packed.device
    codes = torch.empty(rows, width, device=device, dtype=torch.float8_e4m3fn)
    scales = torch.empty(rows, 1, device=device, dtype=torch.float32)
    magnitudes = triton.next_power_of_2(width // NF4_BLOCK)
    levels = _levels(device)
    with torch.cuda.device(device):
        _unpack_rows[(rows,)](
            weight.packed,
            weight.absmax,
            levels,
            codes,
            scales,
            width,
            NF4_BLOCK,
            _BLOCKS_AT_ONCE,
            magnitudes,
            num_warps=4,
        )
    return codes, scales
