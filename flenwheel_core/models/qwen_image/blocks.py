"""A block of the Qwen-Image-Edit transformer as functions of tensors, in two halves with the attention between them.

The arithmetic is FLUX's double block (and diffusers' QwenImageTransformerBlock; equality is tested). Split, so that each half compiles for
a padded prompt length, while attention itself sees exactly the real tokens: prompts of any length share one compiled function, without a
mask. Picture tokens come first, real text tokens next, padding last.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from flenwheel_core.kernels.attention import attention
from flenwheel_core.kernels.heads import Rope, Stream, joint_heads
from flenwheel_core.transformer.blocks import (
    BlockOptions,
    DoubleWeights,
    Linear,
    gelu_linear,
    modulated_linear,
    plain_linear,
)


class EntryWeights(NamedTuple):
    """What comes before attention."""

    qkv: Linear
    text_qkv: Linear
    norms: tuple[Tensor, Tensor, Tensor, Tensor]


class ExitWeights(NamedTuple):
    """What comes after it."""

    out: Linear
    text_out: Linear
    up: Linear
    down: Linear
    text_up: Linear
    text_down: Linear


def halves(weights: DoubleWeights) -> tuple[EntryWeights, ExitWeights]:
    """The same weights, by half."""
    entry = EntryWeights(weights.qkv, weights.text_qkv, weights.norms)
    return entry, ExitWeights(*(getattr(weights, name) for name in ExitWeights._fields))


Pictures = tuple[Tensor, ...]
"""Picture tokens (batch, tokens, channels): all together, or the noisy ones and those of clean references, if they are told apart."""


def enter(
    pictures: Pictures,
    text: Tensor,
    modulations: tuple[Tensor, Tensor],
    rope: Rope,
    w: EntryWeights,
    options: BlockOptions,
) -> tuple[Tensor, Tensor, Tensor]:
    """q, k and v (batch, picture and text tokens, heads, channels of a head), rotated.

    `text` is (batch, tokens, channels). Each modulation is (batch, 6 * channels); that of clean references follows in the batch of the
    noisy pictures' own.
    """
    t_shift, t_scale = modulations[1][:, None].chunk(6, -1)[:2]
    entered = []
    for part, modulation in zip(pictures, modulations[0].chunk(len(pictures), 0), strict=True):
        shift, scale = modulation[:, None].chunk(6, -1)[:2]
        entered.append(modulated_linear(part, shift, scale, w.qkv, options))
    streams = (
        Stream(entered[0] if len(entered) == 1 else torch.cat(entered, 1), *w.norms[:2]),
        Stream(modulated_linear(text, t_shift, t_scale, w.text_qkv, options), *w.norms[2:]),
    )
    return joint_heads(streams, rope, options.heads, kernel=options.heads_kernel)


def leave(
    pictures: Pictures,
    text: Tensor,
    y: Tensor,
    modulations: tuple[Tensor, Tensor],
    w: ExitWeights,
    options: BlockOptions,
) -> tuple[Pictures, Tensor]:
    """`pictures` and `text`, changed by attention's output `y` (batch, picture and text tokens, channels) and the MLP."""
    *picture_ys, text_y = y.split([part.shape[1] for part in (*pictures, text)], 1)
    changed = tuple(
        _stream(part, part_y, modulation, (w.out, w.up, w.down), options)
        for part, part_y, modulation in zip(pictures, picture_ys, modulations[0].chunk(len(pictures), 0), strict=True)
    )
    return changed, _stream(text, text_y, modulations[1], (w.text_out, w.text_up, w.text_down), options)


def _stream(
    x: Tensor, y: Tensor, modulation: Tensor, linears: tuple[Linear, Linear, Linear], options: BlockOptions
) -> Tensor:
    _, _, gate, shift, scale, gate_mlp = modulation[:, None].chunk(6, -1)
    out, up, down = linears
    x = x + gate * plain_linear(y, out, options)
    hidden = modulated_linear(x, shift, scale, up, options)
    return x + gate_mlp * gelu_linear(None, hidden, down, options)


Kept = list[tuple[Tensor, ...]]
"""Attention's output of one block, between the forward pass and its recomputation."""


def attend(q: Tensor, k: Tensor, v: Tensor, tokens: int, kept: Kept | None, *, cudnn: bool) -> Tensor:
    """Attention over the first `tokens` of q, k and v (batch, tokens and padding, heads, channels); zeros for the padding.

    With `kept`, the first call puts its output there and the second one takes it from there: a recomputed block then spends
    nothing on attention. Returns (batch, tokens and padding, heads * channels).
    """
    padding = q.shape[1] - tokens
    if padding:
        q, k, v = (part[:, :tokens] for part in (q, k, v))
    keeps = kept is not None and (cudnn or q.device.type == "cpu")
    y = _Kept.apply(q, k, v, kept) if keeps else attention(q, k, v, cudnn=cudnn)
    return functional.pad(y.flatten(2), (0, 0, 0, padding))


class _Kept(torch.autograd.Function):
    """cuDNN's attention (on a CPU: its flash kernel), whose forward pass runs once for both passes of a recomputed block."""

    @staticmethod
    def forward(ctx, q, k, v, kept):  # type: ignore[no-untyped-def]
        q, k, v = (t.contiguous().transpose(1, 2) for t in (q, k, v))
        if kept:
            found = kept.pop()
        else:
            found = _forward(q, k, v)
            kept.append(found)
        ctx.save_for_backward(q, k, v, *found)
        return found[0].transpose(1, 2)

    @staticmethod
    def backward(ctx, dy):  # type: ignore[no-untyped-def]
        q, k, v, y, *state = ctx.saved_tensors
        dy = dy.contiguous().transpose(1, 2)
        if q.device.type == "cpu":
            backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
            gradients = backward(dy, q, k, v, y, *state, 0.0, False)
        else:
            tokens = q.shape[2]
            backward = torch.ops.aten._scaled_dot_product_cudnn_attention_backward
            gradients = backward(dy, q, k, v, y, *state, None, None, None, tokens, tokens, 0.0, False)
        return *(gradient.transpose(1, 2) for gradient in gradients), None


def _forward(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    if q.device.type == "cpu":
        return tuple(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, False))
    y, logsumexp, _, _, _, _, seed, offset, _ = torch.ops.aten._scaled_dot_product_cudnn_attention(
        q, k, v, None, True, 0.0, False, False
    )
    return y, logsumexp, seed, offset
