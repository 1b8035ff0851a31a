"""The language model for training a LoRA on it: fused frozen linears, compiled layers, logits of the answer alone.

Equal to transformers' own modules (a test compares losses and gradients). Not covered: generating, videos, sliding windows, padding on
the left. Texts are padded on the right, where a causal layer never looks, so attention needs no mask.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from flenwheel_core.adapters.lora_linear import lora_linear
from flenwheel_core.kernels.attention import causal_attention
from flenwheel_core.kernels.swiglu import swiglu
from flenwheel_core.models.qwen_vl.geometry import EMBEDDINGS, HEAD, LAYERS, NORM, VlGeometry
from flenwheel_core.transformer.blocks import Linear
from flenwheel_core.transformer.fast import BlockLayout, FastTransformer
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan
from flenwheel_core.transformer.sources import WeightSource

_MEMBERS = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}


class LayerWeights(NamedTuple):
    """A language layer."""

    qkv: Linear
    out: Linear
    up: Linear
    """Gate and value of the MLP."""
    down: Linear
    norms: tuple[Tensor, ...]
    """RMS norm weights before attention and MLP (width,); Qwen3's of q and k (channels of a head,)."""


class LayerOptions(NamedTuple):
    """What is the same in all layers."""

    heads: int
    key_heads: int
    head: int
    eps: float
    compact: bool


class Outside(torch.nn.Module):
    """What a language model has beside its layers: the last norm and the output; embeddings stay off the card."""

    def __init__(self, norm: Tensor, head: Tensor, config: Any) -> None:
        """norm (width,), head (vocabulary, width)."""
        super().__init__()
        self.norm = torch.nn.Parameter(norm, requires_grad=False)
        self.head = torch.nn.Parameter(head, requires_grad=False)
        self.config = config

    @property
    def device(self) -> torch.device:
        return self.norm.device

    @property
    def dtype(self) -> torch.dtype:
        return self.norm.dtype


class FastLanguage(FastTransformer):
    """The language model of a Qwen-VL with adapters on its layers."""

    def __init__(
        self, geometry: VlGeometry, source: WeightSource, plan: FastPlan, adapters: AdapterPlan, *, embeddings: Tensor
    ) -> None:
        """`embeddings` (vocabulary, width) lie where texts are put together: on the CPU."""
        norm = source.tensor(NORM)
        head = embeddings.to(norm.device) if geometry.tied else source.tensor(HEAD)
        layout = BlockLayout(LAYERS, geometry.layers, LayerWeights, _MEMBERS, geometry.norms)
        functions: dict[str, Callable[..., Any]] = {"layer": language_layer, "losses": answer_losses}
        outside = Outside(norm, head, geometry.config)
        super().__init__(outside, geometry.heads, (layout,), functions, source, plan, adapters)
        self.geometry = geometry
        self.embeddings = embeddings
        self.layer_options = LayerOptions(geometry.heads, geometry.key_heads, geometry.head, geometry.eps, plan.compact)

    def hidden(self, embeds: Tensor, features: Tensor, shown: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        """States (batch, tokens, width) after the last layer, before its norm.

        embeds (batch, tokens, width) are zero where pictures are; features (levels, batch, rows + 1, width) end in a row of zeros;
        shown (batch, tokens) names the row that a token shows, the last one for text; cosines and sines are (batch, tokens,
        channels of a head).
        """
        x = embeds + _picked(features[0], shown)
        for index, layer in enumerate(self.blocks[0]):
            arguments = (x, cosines, sines, self.chosen(layer), self.layer_options)
            x = self.call(self.run["layer"], arguments, recompute=index < self.recompute[0])
            if index + 1 < len(features):
                x = x + _picked(features[index + 1], shown)
        return x

    def losses(self, hidden: Tensor, kept: Tensor, answers: Tensor) -> Tensor:
        """(batch, answer tokens) of states (batch, tokens, width); kept (batch, answer tokens) are the places before the answers."""
        found: Tensor = self.run["losses"](
            hidden, self.rest.norm, self.rest.head, kept, answers, self.layer_options.eps
        )
        return found

    def logits(self, hidden: Tensor, kept: Tensor) -> Tensor:
        """(batch, answer tokens, vocabulary) at the kept places."""
        return answer_logits(hidden, self.rest.norm, self.rest.head, kept, self.layer_options.eps)


def language_layer(x: Tensor, cosines: Tensor, sines: Tensor, w: LayerWeights, options: LayerOptions) -> Tensor:
    """x (batch, tokens, width) to the same, changed."""
    batch, tokens, _ = x.shape
    queries, keys = options.heads * options.head, options.key_heads * options.head
    qkv = _linear(rms_norm(x, w.norms[0], options.eps), w.qkv, options)
    q, k, v = (part.reshape(batch, tokens, -1, options.head) for part in qkv.split([queries, keys, keys], dim=-1))
    if len(w.norms) == 4:
        q, k = rms_norm(q, w.norms[2], options.eps), rms_norm(k, w.norms[3], options.eps)
    q, k = turned(q, cosines, sines), turned(k, cosines, sines)
    x = x + _linear(causal_attention(q, k, v).flatten(2), w.out, options)
    hidden = _linear(rms_norm(x, w.norms[1], options.eps), w.up, options)
    return x + _linear(swiglu(*hidden.chunk(2, -1)), w.down, options)


def answer_logits(hidden: Tensor, norm: Tensor, head: Tensor, kept: Tensor, eps: float) -> Tensor:
    """(batch, answer tokens, vocabulary) at kept places (batch, answer tokens) of states (batch, tokens, width)."""
    states = hidden.gather(1, kept[..., None].expand(-1, -1, hidden.shape[-1]))
    return functional.linear(rms_norm(states, norm, eps), head)


def answer_losses(hidden: Tensor, norm: Tensor, head: Tensor, kept: Tensor, answers: Tensor, eps: float) -> Tensor:
    """Cross entropies (batch, answer tokens), float32; only these places meet the vocabulary."""
    logits = answer_logits(hidden, norm, head, kept, eps)
    return functional.cross_entropy(logits.float().flatten(0, 1), answers.flatten(), reduction="none").view_as(kept)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """As transformers rounds it: normed in float32, scaled in the compute dtype."""
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


def turned(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """x (batch, tokens, heads, channels) by angles (batch, tokens, channels)."""
    first, second = x.chunk(2, dim=-1)
    return x * cosines[:, :, None] + torch.cat([-second, first], dim=-1) * sines[:, :, None]


def load_embeddings(source: WeightSource) -> Tensor:
    """(vocabulary, width)."""
    return source.tensor(EMBEDDINGS)


def _linear(x: Tensor, linear: Linear, options: LayerOptions) -> Tensor:
    return lora_linear(x, linear.weight, linear.adapter, compact=options.compact)


def _picked(rows: Tensor, shown: Tensor) -> Tensor:
    """(batch, tokens, width): the row (batch, rows, width) that each token shows."""
    return rows.gather(1, shown[..., None].expand(-1, -1, rows.shape[-1]))
