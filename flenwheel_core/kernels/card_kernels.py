"""Triton kernels for training on a CUDA card: quantising rows, transposing codes, norm and rotation of heads.

Imported only when a tensor lies on a card: Triton is not needed, and not there, on a CPU.
"""

import torch
import triton
import triton.language as tl

_TILE = 128
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
    scale = tl.maximum(tl.max(tl.abs(values), 0), 1e-12) / 448.0
    tl.store(scales + row, scale)
    kept = tl.minimum(tl.maximum(values / scale, -448.0), 448.0)
    tl.store(codes + row * width + offsets, kept.to(tl.float8e4nv), mask=inside)


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
    scale = tl.maximum(tl.max(largest, 0), 1e-12) / 448.0
    tl.store(scales + row, scale)
    for start in range(0, width, block):
        offsets = start + tl.arange(0, block)
        inside = offsets < width
        values = tl.load(x + row * width + offsets, mask=inside, other=0.0).to(tl.float32)
        if has_columns:
            values = values * tl.load(columns + offsets, mask=inside, other=0.0)
        kept = tl.minimum(tl.maximum(values / scale, -448.0), 448.0)
        tl.store(codes + row * width + offsets, kept.to(tl.float8e4nv), mask=inside)


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
    scale = tl.maximum(tl.max(largest, 0), 1e-12) / 448.0
    tl.store(scales + row, scale)
    tl.debug_barrier()  # what this program wrote is read again
    for start in range(0, width, block):
        offsets = start + tl.arange(0, block)
        inside = offsets < width
        values = tl.load(x + row * width + offsets, mask=inside, other=0.0).to(tl.float32)
        kept = tl.minimum(tl.maximum(values / scale, -448.0), 448.0)
        tl.store(codes + row * width + offsets, kept.to(tl.float8e4nv), mask=inside)


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
    row_scale = tl.maximum(tl.max(tl.abs(values), 0), 1e-12) / 448.0
    tl.store(row_scales + row, row_scale)
    kept = tl.minimum(tl.maximum(values / row_scale, -448.0), 448.0)
    tl.store(codes + row * width + offsets, kept.to(tl.float8e4nv), mask=inside)


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


@triton.jit  # type: ignore[untyped-decorator]
def _rotated(values, cos, sin, count: tl.constexpr, width: tl.constexpr):  # type: ignore[no-untyped-def]
    even, odd = tl.split(tl.reshape(values, (count, width // 2, 2)))
    cos_even, cos_odd = tl.split(tl.reshape(cos, (width // 2, 2)))
    sin_even, sin_odd = tl.split(tl.reshape(sin, (width // 2, 2)))
    turned = tl.join(
        even * cos_even[None, :] - odd * sin_even[None, :], odd * cos_odd[None, :] + even * sin_odd[None, :]
    )
    return tl.reshape(turned, (count, width))


@triton.jit  # type: ignore[untyped-decorator]
def _rotated_back(values, cos, sin, count: tl.constexpr, width: tl.constexpr):  # type: ignore[no-untyped-def]
    even, odd = tl.split(tl.reshape(values, (count, width // 2, 2)))
    cos_even, cos_odd = tl.split(tl.reshape(cos, (width // 2, 2)))
    sin_even, sin_odd = tl.split(tl.reshape(sin, (width // 2, 2)))
    turned = tl.join(
        even * cos_even[None, :] + odd * sin_odd[None, :], odd * cos_odd[None, :] - even * sin_even[None, :]
    )
    return tl.reshape(turned, (count, width))


@triton.jit  # type: ignore[untyped-decorator]
def _heads(  # type: ignore[no-untyped-def]
    source, batch_stride, row_stride, norm_q, norm_k, cos, sin, q, k, v, tokens, all_tokens, first, eps,
    heads: tl.constexpr, group: tl.constexpr, width: tl.constexpr, has_v: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0) % tokens
    batch = (tl.program_id(0) // tokens).to(tl.int64)
    channels = tl.arange(0, width)
    place = (tl.program_id(1) * group + tl.arange(0, group))[:, None] * width + channels[None, :]
    start = source + batch * batch_stride + token.to(tl.int64) * row_stride
    end = (batch * all_tokens + first + token) * heads * width + place
    c = tl.load(cos + (first + token) * width + channels)
    s = tl.load(sin + (first + token) * width + channels)
    for part in tl.static_range(2):
        values = tl.load(start + part * heads * width + place).to(tl.float32)
        norm = tl.load((norm_q if part == 0 else norm_k) + channels).to(tl.float32)
        values = values * tl.rsqrt(tl.sum(values * values, 1) / width + eps)[:, None] * norm[None, :]
        turned = _rotated(values, c, s, group, width)
        if part == 0:
            tl.store(q + end, turned.to(q.dtype.element_ty))
        else:
            tl.store(k + end, turned.to(k.dtype.element_ty))
    if has_v:
        tl.store(v + end, tl.load(start + 2 * heads * width + place))


@triton.jit  # type: ignore[untyped-decorator]
def _heads_backward(  # type: ignore[no-untyped-def]
    dq, dk, dv, source, batch_stride, row_stride, norm_q, norm_k, cos, sin, dsource, tokens, all_tokens, first, eps,
    heads: tl.constexpr, group: tl.constexpr, width: tl.constexpr, has_v: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0) % tokens
    batch = (tl.program_id(0) // tokens).to(tl.int64)
    channels = tl.arange(0, width)
    place = (tl.program_id(1) * group + tl.arange(0, group))[:, None] * width + channels[None, :]
    start = source + batch * batch_stride + token.to(tl.int64) * row_stride
    parts: tl.constexpr = 3 if has_v else 2
    out = dsource + (batch * tokens + token) * parts * heads * width + place
    end = (batch * all_tokens + first + token) * heads * width + place
    c = tl.load(cos + (first + token) * width + channels)
    s = tl.load(sin + (first + token) * width + channels)
    for part in tl.static_range(2):
        gradient = tl.load((dq if part == 0 else dk) + end).to(tl.float32)
        norm = tl.load((norm_q if part == 0 else norm_k) + channels).to(tl.float32)
        values = tl.load(start + part * heads * width + place).to(tl.float32)
        inverse = tl.rsqrt(tl.sum(values * values, 1) / width + eps)[:, None]
        gradient = _rotated_back(gradient, c, s, group, width) * norm[None, :]
        along = tl.sum(values * gradient, 1)[:, None] / width
        changed = inverse * (gradient - values * inverse * inverse * along)
        tl.store(out + part * heads * width, changed.to(dsource.dtype.element_ty))
    if has_v:
        tl.store(out + 2 * heads * width, tl.load(dv + end))


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
    factor = scales if columns is None else columns.contiguous()
    wide = width > _WIDEST_TILE
    block = _CHUNK if wide else triton.next_power_of_2(width)
    kernel = _quantise_wide_rows if wide else _quantise_rows
    with torch.cuda.device(x.device):
        kernel[(rows,)](x, factor, codes, scales, width, columns is not None, block, num_warps=8 if wide else 4)
    return codes, scales


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


def heads_on_card(
    source: torch.Tensor,
    norms: tuple[torch.Tensor, torch.Tensor],
    rope: tuple[torch.Tensor, torch.Tensor],
    joint: tuple[torch.Tensor, torch.Tensor, torch.Tensor | None],
    first: int,
    eps: float,
) -> None:
    """Write q, k (normed and rotated) and v of `source` into the joint tensors, from token `first` on.

    source (batch, tokens, 2 or 3 * heads * width) with adjacent channels; joint q, k, v (batch, all tokens, heads, width).
    """
    q, k, v = joint
    batch, all_tokens, heads, width = q.shape
    group = _group(heads)
    tokens = source.shape[1]
    strides = source.stride(0), source.stride(1)
    with torch.cuda.device(source.device):
        _heads[(batch * tokens, heads // group)](
            source, *strides, *norms, *rope, q, k, q if v is None else v, tokens, all_tokens, first, eps,
            heads, group, width, v is not None, num_warps=4,
        )  # fmt: skip


def heads_backward_on_card(
    gradients: tuple[torch.Tensor, torch.Tensor, torch.Tensor | None],
    source: torch.Tensor,
    norms: tuple[torch.Tensor, torch.Tensor],
    rope: tuple[torch.Tensor, torch.Tensor],
    first: int,
    eps: float,
) -> torch.Tensor:
    """The gradient of `source` (contiguous) from those of the joint q, k, v (contiguous)."""
    dq, dk, dv = gradients
    batch, all_tokens, heads, width = dq.shape
    group = _group(heads)
    tokens = source.shape[1]
    changed = torch.empty(source.shape, device=source.device, dtype=source.dtype)
    strides = source.stride(0), source.stride(1)
    with torch.cuda.device(source.device):
        _heads_backward[(batch * tokens, heads // group)](
            dq, dk, dq if dv is None else dv, source, *strides, *norms, *rope, changed, tokens, all_tokens, first, eps,
            heads, group, width, dv is not None, num_warps=4,
        )  # fmt: skip
    return changed


def _group(heads: int) -> int:
    """Heads a program takes: a power of two that divides them, 8 at most."""
    return min(8, heads & -heads)


def transpose_on_card(codes: torch.Tensor) -> torch.Tensor:
    """Bytes (rows, columns) as contiguous (columns, rows)."""
    rows, columns = codes.shape
    turned = torch.empty(columns, rows, device=codes.device, dtype=codes.dtype)
    grid = (triton.cdiv(rows, _TILE), triton.cdiv(columns, _TILE))
    with torch.cuda.device(codes.device):
        _transpose[grid](codes.view(torch.uint8), turned.view(torch.uint8), rows, columns, _TILE, num_warps=8)
    return turned
