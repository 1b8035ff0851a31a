"""Nano klein, nano Z-Image and their text encoder as plain tensor functions of static shape, for training.

The libraries' own forward passes build masks, places and complex rotary embeddings at run time, prompt by prompt. These functions use the
same modules and give the same numbers (tested), and a step of them can be recorded as one CUDA graph.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import Flux2Transformer2DModel, ZImageTransformer2DModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from transformers import Qwen3ForCausalLM

from flenwheel_core.models.flux2.geometry import REFERENCE_TIME, picture_places, text_places
from flenwheel_core.nano.models.qwen3 import TAPS

SIDE = 8  # tokens along a side of a picture
TOKENS = SIDE * SIDE
PADDED_TO = 32  # Z-Image pads prompts to whole multiples of this

Layer = Callable[..., Tensor]


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    x = x.float()
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of halves, as Qwen has it."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def _attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of heads (batch, heads, tokens, width), written out where there is a mask (True: is seen).

    Kernels that take masks wrote out of bounds when text encoders were trained with them under bfloat16 (`text.py`).
    """
    if mask is None:
        return F.scaled_dot_product_attention(query, key, value)
    scores = (query @ key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
    return scores.masked_fill(~mask, float("-inf")).softmax(-1).to(value.dtype) @ value


def encoder_layer(x: Tensor, mask: Tensor, cos: Tensor, sin: Tensor, eps: float, *weights: Tensor) -> Tensor:
    """One Qwen3 layer on (batch, tokens, width), by its weights: so all layers share one compiled function."""
    before, q, k, v, q_norm, k_norm, out, after, gate, up, down = weights
    width = len(q_norm)

    def heads(y: Tensor) -> Tensor:
        return y.unflatten(-1, (-1, width)).transpose(1, 2)

    h = _norm(x, before, eps)
    query = _turned(_norm(heads(F.linear(h, q)), q_norm, eps), cos, sin)
    key = _turned(_norm(heads(F.linear(h, k)), k_norm, eps), cos, sin)
    value = heads(F.linear(h, v))
    groups = query.shape[1] // key.shape[1]
    key, value = (y.repeat_interleave(groups, dim=1).to(value.dtype) for y in (key, value))
    mixed = _attention(query.to(value.dtype), key, value, mask)
    x = x + F.linear(mixed.transpose(1, 2).flatten(2), out)
    h = _norm(x, after, eps)
    return x + F.linear(F.silu(F.linear(h, gate)) * F.linear(h, up), down)


def encoder_taps(model: Qwen3ForCausalLM, ids: Tensor, valid: Tensor, layer: Layer = encoder_layer) -> list[Tensor]:
    """Hidden states (batch, tokens, width) after each of TAPS, as `output_hidden_states` gives them; `valid` is False on padding."""
    qwen = model.model
    tokens = ids.shape[1]
    angles = torch.arange(tokens, device=ids.device)[:, None].float() * qwen.rotary_emb.inv_freq.float()
    cos, sin = (torch.cat((f, f), dim=-1) for f in (angles.cos(), angles.sin()))
    mask = valid[:, None, None, :] & torch.ones(tokens, tokens, dtype=torch.bool, device=ids.device).tril()
    x = F.embedding(ids, qwen.embed_tokens.weight)
    found = []
    for number, block in enumerate(qwen.layers[: max(TAPS)], 1):
        attention, mlp = block.self_attn, block.mlp
        x = layer(
            x,
            mask,
            cos,
            sin,
            model.config.rms_norm_eps,
            block.input_layernorm.weight,
            attention.q_proj.weight,
            attention.k_proj.weight,
            attention.v_proj.weight,
            attention.q_norm.weight,
            attention.k_norm.weight,
            attention.o_proj.weight,
            block.post_attention_layernorm.weight,
            mlp.gate_proj.weight,
            mlp.up_proj.weight,
            mlp.down_proj.weight,
        )
        if number in TAPS:
            found.append(x)
    return found


class KleinModel:
    """klein's transformer with its places worked out for prompts of `text_tokens` and up to two references."""

    def __init__(self, transformer: Flux2Transformer2DModel, text_tokens: int, device: torch.device) -> None:
        self.transformer = transformer
        self.turns = []
        with torch.no_grad():
            for references in range(3):
                times = [0] + [REFERENCE_TIME * (number + 1) for number in range(references)]
                places = [text_places(text_tokens), *(picture_places(SIDE, SIDE, time=time) for time in times)]
                self.turns.append(transformer.pos_embed(torch.cat(places).to(device)))

    def velocity(self, noisy: Tensor, sigma: Tensor, text: Tensor, references: tuple[Tensor, ...] = ()) -> Tensor:
        """Predicted noise minus picture (batch, 64, channels); text is (batch, text tokens, 3 * width)."""
        model: Any = self.transformer
        time = model.time_guidance_embed(sigma * 1000, None)
        image = model.x_embedder(torch.cat([noisy, *references], dim=1))
        words = model.context_embedder(text)
        turn = self.turns[len(references)]
        by_image, by_text = model.double_stream_modulation_img(time), model.double_stream_modulation_txt(time)
        for block in model.transformer_blocks:
            words, image = block(
                hidden_states=image,
                encoder_hidden_states=words,
                temb_mod_img=by_image,
                temb_mod_txt=by_text,
                image_rotary_emb=turn,
            )
        both = torch.cat([words, image], dim=1)
        by_both = model.single_stream_modulation(time)
        for block in model.single_transformer_blocks:
            both = block(hidden_states=both, encoder_hidden_states=None, temb_mod=by_both, image_rotary_emb=turn)
        drawn = both[:, text.shape[1] : text.shape[1] + TOKENS]
        prediction: Tensor = model.proj_out(model.norm_out(drawn, time))
        return prediction


class RealZAttention:
    """Attention as diffusers' processor for Z-Image; `freqs_cis` holds real pairs (batch, tokens, 1, channels / 2)."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        freqs_cis: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        assert freqs_cis is not None
        cosine, sine = freqs_cis

        def turned(x: Tensor) -> Tensor:
            even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
            return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1).flatten(-2)

        q, k, v = (
            linear(hidden_states).unflatten(-1, (attn.heads, -1)) for linear in (attn.to_q, attn.to_k, attn.to_v)
        )
        q, k = turned(attn.norm_q(q)), turned(attn.norm_k(k))
        q, k, v = (x.to(v.dtype).transpose(1, 2) for x in (q, k, v))
        mixed = _attention(q, k, v, attention_mask)
        out: Tensor = attn.to_out[0](mixed.transpose(1, 2).flatten(2))
        return out


@dataclass(frozen=True)
class _Turn:
    cosine: Tensor
    sine: Tensor


class ZImageModel:
    """Z-Image's transformer on packed tokens of one size, for prompts of up to `text_tokens`, a multiple of 32."""

    def __init__(self, transformer: ZImageTransformer2DModel, text_tokens: int, device: torch.device) -> None:
        assert text_tokens % PADDED_TO == 0
        self.transformer = transformer
        self.text_tokens = text_tokens
        for module in transformer.modules():
            if isinstance(module, Attention):
                module.set_processor(RealZAttention())
        tables = transformer.rope_embedder.precompute_freqs_cis(
            transformer.axes_dims, transformer.axes_lens, theta=transformer.rope_theta
        )
        self._sequence, rows, columns = (
            _Turn(table.real.float().to(device), table.imag.float().to(device)) for table in tables
        )
        row = torch.arange(SIDE, device=device).repeat_interleave(SIDE)
        column = torch.arange(SIDE, device=device).repeat(SIDE)
        self._picture = _Turn(*(torch.cat([getattr(rows, f)[row], getattr(columns, f)[column]], -1) for f in _PARTS))
        words = torch.arange(text_tokens, device=device) + 1
        nowhere = torch.zeros_like(words)
        self._words = tuple(
            torch.cat([getattr(self._sequence, f)[words], getattr(rows, f)[nowhere], getattr(columns, f)[nowhere]], -1)[
                None, :, None
            ]
            for f in _PARTS
        )

    def velocity(self, noisy: Tensor, sigma: Tensor, text: Tensor, valid: Tensor) -> Tensor:
        """Predicted noise minus picture of tokens (batch, 64, channels) in the order (channel, row, column) of `pack`.

        text: (batch, tokens, width); valid: (batch, tokens), False on padding. Both are padded to `text_tokens` here.
        """
        model: Any = self.transformer
        missing = self.text_tokens - text.shape[1]
        text, valid = F.pad(text, (0, 0, 0, missing)), F.pad(valid, (0, missing))
        length = (valid.sum(1) + PADDED_TO - 1) // PADDED_TO * PADDED_TO
        there = torch.arange(self.text_tokens, device=text.device) < length[:, None]
        time = model.t_embedder((1 - sigma) * model.t_scale)
        x = model.all_x_embedder["2-1"](noisy.unflatten(-1, (-1, 4)).transpose(-1, -2).flatten(-2))
        picture = tuple(
            torch.cat(
                [getattr(self._sequence, f)[length + 1][:, None].expand(-1, TOKENS, -1), here.expand(len(x), -1, -1)],
                -1,
            )[:, :, None]
            for f, here in zip(_PARTS, (self._picture.cosine, self._picture.sine), strict=True)
        )
        for layer in model.noise_refiner:
            x = layer(x, None, picture, time)
        words = torch.where(valid[..., None], model.cap_embedder(text), model.cap_pad_token)
        mask = there[:, None, None, :]
        for layer in model.context_refiner:
            words = layer(words, mask, self._words)
        both = torch.cat([x, words], dim=1)
        turns = tuple(
            torch.cat([one, other.expand(len(x), -1, -1, -1)], 1)
            for one, other in zip(picture, self._words, strict=True)
        )
        mask = F.pad(there, (TOKENS, 0), value=True)[:, None, None, :]
        for layer in model.layers:
            both = layer(both, mask, turns, time)
        out = model.all_final_layer["2-1"](both[:, :TOKENS], c=time)
        return -out.unflatten(-1, (4, -1)).transpose(-1, -2).flatten(-2)


_PARTS = ("cosine", "sine")


def compile_blocks(*modules: nn.Module) -> None:
    """Compiles the repeated blocks of transformers one by one: far faster than a whole graph, and nearly as good."""
    torch._dynamo.config.cache_size_limit = 64  # one for each task, with and without gradients
    for module in modules:
        kinds = set(getattr(module, "_repeated_blocks", ()))
        for block in module.modules():
            if type(block).__name__ in kinds:
                block.compile(dynamic=False)
