"""Trains the editor's transformer: flow matching on the target, with the source's latents as extra tokens; then guidance goes into it.

The vision-language encoder is frozen, so what it says about every edit is computed once, before training. The transformer's own forward
pass uses complex rotary embeddings and looks up masks at run time; `EditorModel` runs the same modules with real arithmetic (tested equal).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import QwenImageTransformer2DModel
from diffusers.models.attention_processor import Attention
from torch import Tensor

from tools.nano_training.autoencoder import face_weight

SIDE = 8  # packed tokens along a side
CHANGE_WEIGHT = 1.0
GUIDANCE_STRENGTH = 2.5
IMAGE_SHAPES = [[(1, SIDE, SIDE), (1, SIDE, SIDE)]]


def _rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding of (batch, tokens, heads, channels) by (tokens, 1, channels / 2) cosines and sines of interleaved pairs."""
    cosine, sine = turn
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1).flatten(-2).to(x.dtype)


class RealAttention:
    """Joint attention of text and image tokens, as diffusers' processor for this model; `image_rotary_emb` holds real pairs."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        encoder_hidden_states_mask: Tensor,
        image_rotary_emb: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]],
        attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        width = attn.inner_dim // attn.heads
        turn_image, turn_text = image_rotary_emb

        def split(x: Tensor) -> Tensor:
            return x.unflatten(-1, (-1, width))

        q = torch.cat(
            [
                _rotate(attn.norm_added_q(split(attn.add_q_proj(encoder_hidden_states))), turn_text),
                _rotate(attn.norm_q(split(attn.to_q(hidden_states))), turn_image),
            ],
            dim=1,
        )
        k = torch.cat(
            [
                _rotate(attn.norm_added_k(split(attn.add_k_proj(encoder_hidden_states))), turn_text),
                _rotate(attn.norm_k(split(attn.to_k(hidden_states))), turn_image),
            ],
            dim=1,
        )
        v = torch.cat([split(attn.add_v_proj(encoder_hidden_states)), split(attn.to_v(hidden_states))], dim=1)
        q, k, v = (x.to(v.dtype).transpose(1, 2) for x in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=encoder_hidden_states_mask)
        mixed = mixed.transpose(1, 2).flatten(2)
        text, image = mixed.split([encoder_hidden_states.shape[1], hidden_states.shape[1]], dim=1)
        return attn.to_out[0](image), attn.to_add_out(text)


class EditorModel:
    """The transformer with everything that does not change from step to step taken out."""

    def __init__(self, transformer: QwenImageTransformer2DModel, text_tokens: int, device: torch.device) -> None:
        self.transformer = transformer
        image, text = transformer.pos_embed(IMAGE_SHAPES, max_txt_seq_len=text_tokens, device=device)
        self.turns = tuple(
            (f.real.float()[:, None].contiguous(), f.imag.float()[:, None].contiguous()) for f in (image, text)
        )
        for block in transformer.transformer_blocks:
            block.attn.set_processor(RealAttention())

    def velocity(self, noisy: Tensor, source: Tensor, sigma: Tensor, condition: Tensor, valid: Tensor) -> Tensor:
        """Predicted e - x0 of the target tokens.

        noisy, source: (batch, tokens, channels); condition: (batch, text tokens, width); valid: (batch, text tokens), False on padding.
        """
        model = self.transformer
        image = model.img_in(torch.cat([noisy, source], dim=1))
        text = model.txt_in(model.txt_norm(condition))
        time = model.time_text_embed(sigma, image)
        mask = F.pad(valid, (0, image.shape[1]), value=True)[:, None, None, :]
        for block in model.transformer_blocks:
            text, image = block(image, text, mask, time, image_rotary_emb=self.turns)
        prediction: Tensor = model.proj_out(model.norm_out(image[:, : noisy.shape[1]], time))
        return prediction


@dataclass
class EditorData:
    """All training data, on the device."""

    latents: Tensor
    """(pictures, tokens, channels), normalised and packed."""
    source: Tensor
    """(edits,): rows of `latents`."""
    target: Tensor
    condition: Tensor
    """(edits, text tokens, width): hidden states of the vision-language model."""
    lengths: Tensor
    """(edits,): how many of the text tokens are valid."""
    empty: Tensor
    """(pictures, text tokens, width): hidden states of the picture with an empty instruction."""
    empty_length: Tensor
    """(1,): how many of those are valid."""


def change_weight(truth: Tensor, source: Tensor) -> Tensor:
    """(batch, tokens, 1), mean 1: tokens in which the target differs from the source count more, and faces count more.

    An expression is a few tokens of an edit; without this, copying the source's face costs next to nothing.
    """
    change = (truth - source).abs().mean(-1)
    weight = 1 + CHANGE_WEIGHT * (change / change.mean(1, keepdim=True).clamp_min(1e-4)).clamp(max=8)
    weight = weight * face_weight(SIDE, truth.device).flatten()
    return (weight / weight.mean(1, keepdim=True))[..., None]


class EditLoss:
    """Flow matching on the target picture of an edit."""

    def __init__(self, model: EditorModel, data: EditorData, batch: int) -> None:
        self.model, self.data, self.batch = model, data, batch
        self.positions = torch.arange(data.condition.shape[1], device=data.latents.device)
        self.forward = torch.compile(self._forward, dynamic=False) if data.latents.is_cuda else self._forward

    def _forward(
        self, truth: Tensor, source: Tensor, noise: Tensor, sigma: Tensor, condition: Tensor, valid: Tensor
    ) -> Tensor:
        level = sigma[:, None, None]
        noisy = (1 - level) * truth + level * noise
        with torch.autocast(truth.device.type, torch.bfloat16, cache_enabled=False):
            predicted = self.model.velocity(noisy, source, sigma, condition, valid)
        return (change_weight(truth, source) * (predicted.float() - (noise - truth)) ** 2).mean()

    def __call__(self) -> Tensor:
        return self.forward(*_draw(self.data, self.batch, self.positions)[:6])


def _draw(data: EditorData, batch: int, positions: Tensor) -> tuple[Tensor, ...]:
    """Target and source latents, noise, noise levels, hidden states and which of them are valid; the same of empty instructions."""
    device = data.latents.device
    rows = torch.randint(len(data.source), (batch,), device=device)
    truth = data.latents[data.target[rows]].float()
    source = data.latents[data.source[rows]].float()
    sigma = torch.sigmoid(0.2 + 1.1 * torch.randn(batch, device=device))
    valid = positions < data.lengths[rows, None]
    empty = data.empty[data.source[rows]].float()
    empty_valid = (positions < data.empty_length).expand(batch, -1)
    return truth, source, torch.randn_like(truth), sigma, data.condition[rows].float(), valid, empty, empty_valid


class GuidedLoss:
    """The model learns to predict at once what classifier-free guidance of GUIDANCE_STRENGTH makes of a teacher (Meng et al. 2023)."""

    def __init__(self, model: EditorModel, teacher: EditorModel, data: EditorData, batch: int) -> None:
        self.model, self.teacher, self.data, self.batch = model, teacher, data, batch
        self.positions = torch.arange(data.condition.shape[1], device=data.latents.device)
        compiled = data.latents.is_cuda
        self.forward = torch.compile(self._forward, dynamic=False) if compiled else self._forward
        self.target = torch.compile(self._target, dynamic=False) if compiled else self._target

    def _target(
        self,
        noisy: Tensor,
        source: Tensor,
        sigma: Tensor,
        condition: Tensor,
        valid: Tensor,
        empty: Tensor,
        none: Tensor,
    ) -> Tensor:
        with torch.autocast(noisy.device.type, torch.bfloat16, cache_enabled=False):
            both = self.teacher.velocity(
                noisy.repeat(2, 1, 1),
                source.repeat(2, 1, 1),
                sigma.repeat(2),
                torch.cat([condition, empty]),
                torch.cat([valid, none]),
            )
        asked, unasked = both.float().chunk(2)
        return unasked + GUIDANCE_STRENGTH * (asked - unasked)

    def _forward(
        self, noisy: Tensor, source: Tensor, sigma: Tensor, condition: Tensor, valid: Tensor, target: Tensor
    ) -> Tensor:
        with torch.autocast(noisy.device.type, torch.bfloat16, cache_enabled=False):
            predicted = self.model.velocity(noisy, source, sigma, condition, valid)
        return ((predicted.float() - target) ** 2).mean()

    def __call__(self) -> Tensor:
        truth, source, noise, sigma, condition, valid, empty, none = _draw(self.data, self.batch, self.positions)
        level = sigma[:, None, None]
        noisy = (1 - level) * truth + level * noise
        with torch.no_grad():
            target = self.target(noisy, source, sigma, condition, valid, empty, none)
        return self.forward(noisy, source, sigma, condition, valid, target)
