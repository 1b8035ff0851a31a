"""From a fused linear's output to attention's q, k and v: RMS norm of each head, rotary embedding, two streams joined.

On a card it is one kernel each way; elsewhere, and where heads are no power of two wide, PyTorch's own operations.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch.nn import functional

from flenwheel_core.kernels.kernel import Kernel, near, sample

EPS = 1e-6

Rope = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines (tokens, channels of a head), float32."""


class Stream(NamedTuple):
    """One stream's q, k and v side by side (batch, tokens, 3 * channels), and the norms' weights (channels of a head,)."""

    qkv: torch.Tensor
    norm_q: torch.Tensor
    norm_k: torch.Tensor


def joint_heads(
    streams: Sequence[Stream], rope: Rope, heads: int, *, kernel: bool = False, eps: float = EPS
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q, k, v (batch, tokens of all streams, heads, channels of a head); q and k normed, with `eps`, and rotated.

    `kernel` takes the card's kernel where it can.
    """
    width = streams[0].qkv.shape[-1] // 3
    if kernel and _fits(width // heads):
        if len(streams) == 1:
            (only,) = streams
            q, k, _ = _Heads.apply(
                only.qkv[..., : 2 * width], only.norm_q, only.norm_k, None, None, None, *rope, heads, eps
            )
            return q, k, only.qkv[..., 2 * width :].unflatten(-1, (heads, -1))
        first, second = streams
        joined: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = _Heads.apply(*first, *second, *rope, heads, eps)
        return joined
    parts = [stream.qkv.unflatten(-1, (3, heads, -1)).unbind(2) for stream in streams]
    q = torch.cat([_rms(q, stream.norm_q, eps) for (q, _, _), stream in zip(parts, streams, strict=True)], 1)
    k = torch.cat([_rms(k, stream.norm_k, eps) for (_, k, _), stream in zip(parts, streams, strict=True)], 1)
    return rotate(q, rope), rotate(k, rope), torch.cat([v for _, _, v in parts], 1)


def rotate(x: torch.Tensor, rope: Rope) -> torch.Tensor:
    """Rotary embedding of neighbouring channel pairs (Su et al. 2021), as diffusers applies it; x (batch, tokens, heads, c)."""
    cos, sin = (part[None, :, None, :] for part in rope)
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([-odd, even], -1).flatten(-2)
    return (x.float() * cos + turned.float() * sin).to(x.dtype)


def _rms(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return functional.rms_norm(x, (x.shape[-1],), weight, eps=eps)


def _fits(width: int) -> bool:
    return width >= 16 and width & (width - 1) == 0


class _Heads(torch.autograd.Function):
    @staticmethod
    def forward(ctx, first, first_q, first_k, second, second_q, second_k, cos, sin, heads, eps):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(first, first_q, first_k, second, second_q, second_k, cos, sin)
        ctx.eps = eps
        return join_heads(first, first_q, first_k, second, second_q, second_k, cos, sin, heads, eps)

    @staticmethod
    def backward(ctx, dq, dk, dv):  # type: ignore[no-untyped-def]
        saved = ctx.saved_tensors  # once: a recomputed block gives its tensors out once
        second = saved[3]
        dfirst, dsecond = part_heads(dq, dk, None if second is None else dv, *saved, ctx.eps)
        return dfirst, None, None, None if second is None else dsecond, *(None,) * 6


@torch.library.custom_op("flenwheel::join_heads", mutates_args=())
def join_heads(
    first: torch.Tensor,
    first_q: torch.Tensor,
    first_k: torch.Tensor,
    second: torch.Tensor | None,
    second_q: torch.Tensor | None,
    second_k: torch.Tensor | None,
    cos: torch.Tensor,
    sin: torch.Tensor,
    heads: int,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q, k, v of both streams joined; without a second one, q and k of the first, and an empty tensor."""
    from flenwheel_core.kernels.triton.heads import heads_on_card

    q, k, v = _joined(first, second, heads)
    joint = q, k, None if second is None else v
    rope = cos.contiguous(), sin.contiguous()
    heads_on_card(first, (first_q, first_k), rope, joint, 0, eps)
    if second is not None and second_q is not None and second_k is not None:
        heads_on_card(second, (second_q, second_k), rope, joint, first.shape[1], eps)
    return q, k, v


@join_heads.register_fake
def _(
    first: torch.Tensor, _q: object, _k: object, second: torch.Tensor | None, *rest: object
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return _joined(first, second, cast(int, rest[-2]))


def _joined(
    first: torch.Tensor, second: torch.Tensor | None, heads: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    tokens = first.shape[1] + (0 if second is None else second.shape[1])
    shape = first.shape[0], tokens, heads, first.shape[2] // (2 if second is None else 3) // heads
    q, k = first.new_empty(shape), first.new_empty(shape)
    return q, k, first.new_empty((0,)) if second is None else first.new_empty(shape)


@torch.library.custom_op("flenwheel::part_heads", mutates_args=())
def part_heads(
    dq: torch.Tensor,
    dk: torch.Tensor,
    dv: torch.Tensor | None,
    first: torch.Tensor,
    first_q: torch.Tensor,
    first_k: torch.Tensor,
    second: torch.Tensor | None,
    second_q: torch.Tensor | None,
    second_k: torch.Tensor | None,
    cos: torch.Tensor,
    sin: torch.Tensor,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of the streams (the second one empty if there is none)."""
    from flenwheel_core.kernels.triton.heads import heads_backward_on_card

    rope = cos.contiguous(), sin.contiguous()
    gradients = dq.contiguous(), dk.contiguous(), None if dv is None else dv.contiguous()
    dfirst = heads_backward_on_card(gradients, first, (first_q, first_k), rope, 0, eps)
    if second is None or second_q is None or second_k is None:
        return dfirst, first.new_empty((0,))
    return dfirst, heads_backward_on_card(gradients, second, (second_q, second_k), rope, first.shape[1], eps)


@part_heads.register_fake
def _(
    _dq: object, _dk: object, _dv: object, first: torch.Tensor, _q: object, _k: object, second: torch.Tensor | None,
    *_: object,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    other = first.new_empty((0,)) if second is None else second.new_empty(second.shape)
    return first.new_empty(first.shape), other


def _check(device: torch.device) -> bool:
    heads, width = 6, 64
    angles = sample(7, width // 2, device=device, seed=1).float()
    rope = angles.cos().repeat_interleave(2, 1), angles.sin().repeat_interleave(2, 1)
    norms = [sample(width, device=device, seed=5 + i) for i in range(4)]
    values = [sample(2, tokens, 3 * heads * width, device=device, seed=tokens) for tokens in (3, 4)]
    for count in (2, 1):
        results = []
        for kernel in (True, False):
            with torch.enable_grad():
                inputs = [value.detach().clone().requires_grad_() for value in values[:count]]
                streams = [Stream(x, norms[2 * i], norms[2 * i + 1]) for i, x in enumerate(inputs)]
                tokens = sum(x.shape[1] for x in inputs)
                made = joint_heads(streams, (rope[0][:tokens], rope[1][:tokens]), heads, kernel=kernel)
                results.append([*made, *torch.autograd.grad(made, inputs, [part.detach() for part in made])])
        if not all(near(one, other) for one, other in zip(*results, strict=True)):
            return False
    return True


HEADS = Kernel("heads", "norm and rotation of heads", _check, ops=("flenwheel::join_heads", "flenwheel::part_heads"))
