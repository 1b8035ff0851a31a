"""Transformer blocks as functions of tensors, for training speed: two streams joined in attention, and one stream.

The same arithmetic as diffusers' FluxTransformerBlock and FluxSingleTransformerBlock (and FLUX.2's), with linears that share an input
fused, adapters grouped, and modulation given from outside (it does not depend on trained weights). All blocks of a kind
share one compiled function, because weights come in as arguments. Equality with diffusers is tested.
"""

from typing import NamedTuple

import torch

from flenwheel_core.adapters.lora_linear import Adapter, lora_linear
from flenwheel_core.kernels.attention import attention
from flenwheel_core.kernels.frozen_weights import Fp8Weight, FrozenWeight
from flenwheel_core.kernels.gelu import GELU, gelu, gelu_and_quantised
from flenwheel_core.kernels.heads import HEADS, Rope, Stream, joint_heads
from flenwheel_core.kernels.modulated import MODULATED, WIDEST, modulated, modulated_and_quantised
from flenwheel_core.kernels.swiglu import swiglu


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
    modulated_kernel: bool = False
    """Norm, modulation and quantising by the card's own kernel."""
    gelu_kernel: bool = False
    """GELU and quantising by the card's own kernel."""
    gated: bool = False
    """MLPs bend by SwiGLU, as FLUX.2's do; else by GELU."""


def block_options(heads: int, device: torch.device, *, cudnn: bool, compact: bool) -> BlockOptions:
    """The options with the kernels that work on this device."""
    return BlockOptions(
        heads=heads,
        cudnn=cudnn,
        compact=compact,
        heads_kernel=HEADS.works(device),
        modulated_kernel=MODULATED.works(device),
        gelu_kernel=GELU.works(device),
    )


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

    picture = picture + gate * plain_linear(picture_y, w.out, options)
    hidden = modulated_linear(picture, shift_mlp, scale_mlp, w.up, options)
    picture = picture + gate_mlp * bent_linear(None, hidden, w.down, options)

    text = text + t_gate * plain_linear(text_y, w.text_out, options)
    hidden = modulated_linear(text, t_shift_mlp, t_scale_mlp, w.text_up, options)
    text = text + t_gate_mlp * bent_linear(None, hidden, w.text_down, options)
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
    return x + gate * bent_linear(y, both[..., 3 * width :], w.out, options)


def bent_linear(before: torch.Tensor | None, pre: torch.Tensor, linear: Linear, options: BlockOptions) -> torch.Tensor:
    """The linear of `before` (if any) and of `pre` after the MLP's own bend, side by side."""
    return (swiglu_linear if options.gated else gelu_linear)(before, pre, linear, options)


def gelu_linear(before: torch.Tensor | None, pre: torch.Tensor, linear: Linear, options: BlockOptions) -> torch.Tensor:
    """The linear of `before` (if any) and GELU of `pre`, side by side."""
    if options.gelu_kernel and isinstance(linear.weight, Fp8Weight):
        x, codes, scales = gelu_and_quantised(before, pre)
        quantised = codes, scales
        return lora_linear(x, linear.weight, linear.adapter, compact=options.compact, quantised=quantised)
    hidden = gelu(pre)
    return plain_linear(hidden if before is None else torch.cat([before, hidden], -1), linear, options)


def swiglu_linear(
    before: torch.Tensor | None, pre: torch.Tensor, linear: Linear, options: BlockOptions
) -> torch.Tensor:
    """The linear of `before` (if any) and SwiGLU of `pre` (batch, tokens, gate and value), side by side."""
    hidden = swiglu(*pre.chunk(2, -1))
    return plain_linear(hidden if before is None else torch.cat([before, hidden], -1), linear, options)


def plain_linear(x: torch.Tensor, linear: Linear, options: BlockOptions) -> torch.Tensor:
    """x (batch, tokens, inputs) to (batch, tokens, outputs)."""
    return lora_linear(x, linear.weight, linear.adapter, compact=options.compact)


def modulated_linear(
    x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor, linear: Linear, options: BlockOptions
) -> torch.Tensor:
    """The linear of norm(x) * (1 + scale) + shift."""
    if options.modulated_kernel and isinstance(linear.weight, Fp8Weight) and x.shape[-1] <= WIDEST:
        y, codes, row_scales = modulated_and_quantised(x, shift, scale)
        quantised = codes, row_scales
        return lora_linear(y, linear.weight, linear.adapter, compact=options.compact, quantised=quantised)
    return plain_linear(modulated(x, shift, scale), linear, options)
