"""A block of the Z-Image transformer as a function of tensors: norms before and after attention and MLP, gates bent by tanh.

The same arithmetic as diffusers' ZImageTransformerBlock, with linears that share an input fused, adapters grouped, and modulation given
from outside. Equality with diffusers is tested.
"""

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from flenwheel_core.kernels.attention import attention
from flenwheel_core.kernels.heads import Rope, Stream, joint_heads
from flenwheel_core.transformer.blocks import BlockOptions, Linear, plain_linear, swiglu_linear

EPS = 1e-5
"""Of all norms within a block."""


class Norms(NamedTuple):
    """RMS norm weights: of the heads (channels of a head,), of what enters and leaves attention and the MLP (channels,)."""

    q: Tensor
    k: Tensor
    before_attention: Tensor
    after_attention: Tensor
    before_mlp: Tensor
    after_mlp: Tensor


class ZWeights(NamedTuple):
    """A block. `up` gives the MLP's gate and value side by side."""

    qkv: Linear
    out: Linear
    up: Linear
    down: Linear
    norms: tuple[Tensor, ...]


def modulated_block(x: Tensor, modulation: Tensor, rope: Rope, w: ZWeights, options: BlockOptions) -> Tensor:
    """x (batch, tokens, channels), changed; modulation (batch, 4 * channels)."""
    scale, gate, scale_mlp, gate_mlp = modulation[:, None].chunk(4, -1)
    norms = Norms(*w.norms)
    y = _attended(_rms(x, norms.before_attention) * (1 + scale), rope, w, options)
    x = x + gate.tanh() * _rms(y, norms.after_attention)
    y = _mlp(_rms(x, norms.before_mlp) * (1 + scale_mlp), w, options)
    return x + gate_mlp.tanh() * _rms(y, norms.after_mlp)


def plain_block(x: Tensor, rope: Rope, w: ZWeights, options: BlockOptions) -> Tensor:
    """x (batch, tokens, channels), changed: a block of the text alone, which no time modulates."""
    norms = Norms(*w.norms)
    x = x + _rms(_attended(_rms(x, norms.before_attention), rope, w, options), norms.after_attention)
    return x + _rms(_mlp(_rms(x, norms.before_mlp), w, options), norms.after_mlp)


def _attended(x: Tensor, rope: Rope, w: ZWeights, options: BlockOptions) -> Tensor:
    stream = Stream(plain_linear(x, w.qkv, options), *w.norms[:2])
    heads = joint_heads((stream,), rope, options.heads, kernel=options.heads_kernel, eps=EPS)
    return plain_linear(attention(*heads, cudnn=options.cudnn).flatten(2), w.out, options)


def _mlp(x: Tensor, w: ZWeights, options: BlockOptions) -> Tensor:
    return swiglu_linear(None, plain_linear(x, w.up, options), w.down, options)


def _rms(x: Tensor, weight: Tensor) -> Tensor:
    return functional.rms_norm(x, (x.shape[-1],), weight, eps=EPS)
