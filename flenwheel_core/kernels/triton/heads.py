"""RMS norm and rotation of heads, written where attention reads them, and the gradient."""

import torch
import triton
import triton.language as tl


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
