"""The two block kinds of FLUX as functions of tensors, for training speed.

The same arithmetic as diffusers' FluxTransformerBlock and FluxSingleTransformerBlock, with linears that share an input
fused, adapters grouped, and modulation given from outside (it does not depend on trained weights). All blocks of a kind
share one compiled function, because weights come in as arguments. Equality with diffusers is tested.
"""

import math
from typing import NamedTuple

import torch
from torch.nn import functional

from flenwheel_core.training.attention import attention
from flenwheel_core.training.heads import Rope, Stream, joint_heads
from flenwheel_core.training.kernel_check import kernel_works
from flenwheel_core.training.lora_linear import Adapter, lora_linear
from flenwheel_core.training.modulated import WIDEST, modulated, modulated_and_quantised
from flenwheel_core.training.storage import Fp8Weight, FrozenWeight


class Linear(NamedTuple):
    """A fused frozen linear and its adapters."""

    weight: FrozenWeight
    adapter: Adapter | None


class DoubleWeights(NamedTuple):
    """A double block: picture stream and text stream, joined in attention."""

    qkv: Linear
    text_qkv: Linear
    out: Linear
    text_out: Linear
    up: Linear
    down: Linear
    text_up: Linear
    text_down: Linear
    norms: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
    """RMS norm weights of q, k, text q, text k, each (channels of a head,)."""


class SingleWeights(NamedTuple):
    """A single block: q, k, v and the MLP's first linear in one, the output of both in another."""

    qkv_mlp: Linear
    out: Linear
    norms: tuple[torch.Tensor, torch.Tensor]


class BlockOptions(NamedTuple):
    """What is the same in all blocks."""

    heads: int
    cudnn: bool
    compact: bool
    heads_kernel: bool = False
    """Norm and rotation of heads by the card's own kernel."""
    norm_kernel: bool = False
    """Norm, modulation and quantising by the card's own kernel."""


def block_options(heads: int, device: torch.device, *, cudnn: bool, compact: bool) -> BlockOptions:
    """The options with the kernels that work on this device."""
    working = kernel_works("heads", device), kernel_works("modulated", device)
    return BlockOptions(heads, cudnn, compact, *working)


def double_block(
    picture: torch.Tensor,
    text: torch.Tensor,
    modulation: torch.Tensor,
    text_modulation: torch.Tensor,
    rope: Rope,
    w: DoubleWeights,
    options: BlockOptions,
) -> tuple[torch.Tensor, torch.Tensor]:
    """picture (batch, tokens, channels), text alike; modulations (batch, 6 * channels). The same two, changed."""
    shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = modulation[:, None].chunk(6, -1)
    t_shift, t_scale, t_gate, t_shift_mlp, t_scale_mlp, t_gate_mlp = text_modulation[:, None].chunk(6, -1)
    streams = (
        Stream(modulated_linear(text, t_shift, t_scale, w.text_qkv, options), *w.norms[2:]),
        Stream(modulated_linear(picture, shift, scale, w.qkv, options), *w.norms[:2]),
    )
    y = attention(*joint_heads(streams, rope, options.heads, kernel=options.heads_kernel), cudnn=options.cudnn).flatten(
        2
    )
    text_y, picture_y = y.split([text.shape[1], picture.shape[1]], 1)

    picture = picture + gate * _linear(picture_y, w.out, options)
    hidden = gelu(modulated_linear(picture, shift_mlp, scale_mlp, w.up, options))
    picture = picture + gate_mlp * _linear(hidden, w.down, options)

    text = text + t_gate * _linear(text_y, w.text_out, options)
    hidden = gelu(modulated_linear(text, t_shift_mlp, t_scale_mlp, w.text_up, options))
    text = text + t_gate_mlp * _linear(hidden, w.text_down, options)
    return picture, text


def single_block(
    x: torch.Tensor, modulation: torch.Tensor, rope: Rope, w: SingleWeights, options: BlockOptions
) -> torch.Tensor:
    """x (batch, text and picture tokens, channels); modulation (batch, 3 * channels)."""
    shift, scale, gate = modulation[:, None].chunk(3, -1)
    width = x.shape[-1]
    both = modulated_linear(x, shift, scale, w.qkv_mlp, options)
    stream = Stream(both[..., : 3 * width], *w.norms)
    y = attention(
        *joint_heads((stream,), rope, options.heads, kernel=options.heads_kernel), cudnn=options.cudnn
    ).flatten(2)
    hidden = gelu(both[..., 3 * width :])
    return x + gate * _linear(torch.cat([y, hidden], -1), w.out, options)


def gelu(x: torch.Tensor) -> torch.Tensor:
    """GELU in its tanh form. On a card by the sigmoid, which is the same function at a third of the instructions."""
    if x.is_cuda:
        return _Gelu.apply(x)
    return functional.gelu(x, approximate="tanh")


class _Gelu(torch.autograd.Function):
    """x * sigmoid(2 u), where u = sqrt(2 / pi) (x + 0.044715 x^3): (1 + tanh u) / 2 is sigmoid(2 u)."""

    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        values = x.float()
        return (values * torch.sigmoid(_GELU * (values + 0.044715 * values**3))).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):  # type: ignore[no-untyped-def]
        values = ctx.saved_tensors[0].float()
        share = torch.sigmoid(_GELU * (values + 0.044715 * values**3))
        slope = share + values * share * (1 - share) * _GELU * (1 + 3 * 0.044715 * values**2)
        return (dy.float() * slope).to(dy.dtype)


_GELU = 2 * math.sqrt(2 / math.pi)


def _linear(x: torch.Tensor, linear: Linear, options: BlockOptions) -> torch.Tensor:
    return lora_linear(x, linear.weight, linear.adapter, compact=options.compact)


def modulated_linear(
    x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor, linear: Linear, options: BlockOptions
) -> torch.Tensor:
    """The linear of norm(x) * (1 + scale) + shift."""
    if options.norm_kernel and isinstance(linear.weight, Fp8Weight) and x.shape[-1] <= WIDEST:
        y, codes, row_scales = modulated_and_quantised(x, shift, scale)
        quantised = codes, row_scales
        return lora_linear(y, linear.weight, linear.adapter, compact=options.compact, quantised=quantised)
    return _linear(modulated(x, shift, scale), linear, options)
