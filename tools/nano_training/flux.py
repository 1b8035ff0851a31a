"""Trains FLUX's transformer together with its two text encoders, then teaches it to answer to the guidance value.

First part: flow matching, x_t = (1 - s) x0 + s e with target e - x0 (Lipman et al. 2023; s logit-normal as in Esser et al. 2024), captions
dropped in a share of samples. Second part: guidance distillation (Meng et al. 2023), in which the model with guidance g learns to predict
what classifier-free guidance of strength `guidance_strength(g)` gives, as FLUX.1-dev does.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor
from transformers import CLIPTextModel, T5EncoderModel

from flenwheel_core.nano.models.flux import TEXT_TOKENS, image_ids
from tools.nano_training.autoencoder import face_weight
from tools.nano_training.text import clip_pooled, t5_hidden

CAPTION_DROPOUT = 0.1
NAMED_SHARE = 0.35
"""Of pictures of named characters in a batch."""
GUIDANCE_RANGE = (1.0, 5.0)
SIDE = 8  # packed tokens along a side


def guidance_strength(guidance: Tensor) -> Tensor:
    """Classifier-free guidance that a guidance value stands for: 1 is none, 3.5 is a strength of 2."""
    return 1 + 0.4 * (guidance - 1)


@dataclass
class FluxData:
    """All training data, on the device."""

    latents: Tensor
    """(pictures, tokens, channels), scaled and packed."""
    clip_ids: Tensor
    """(pictures, captions, tokens)"""
    t5_ids: Tensor
    empty_clip: Tensor
    """(tokens,): the empty caption."""
    empty_t5: Tensor
    named_from: int
    """From this picture on they are of named characters."""


@dataclass
class FluxModels:
    """What is trained together."""

    transformer: FluxTransformer2DModel
    clip: CLIPTextModel
    t5: T5EncoderModel

    def velocity(self, noisy: Tensor, sigma: Tensor, guidance: Tensor, clip_ids: Tensor, t5_ids: Tensor) -> Tensor:
        """Predicted e - x0, (batch, tokens, channels)."""
        prediction: Tensor = self.transformer(
            hidden_states=noisy,
            encoder_hidden_states=t5_hidden(self.t5, t5_ids),
            pooled_projections=clip_pooled(self.clip, clip_ids),
            timestep=sigma,
            guidance=guidance,
            img_ids=image_ids(SIDE, SIDE, noisy.device),
            txt_ids=torch.zeros(TEXT_TOKENS, 3, device=noisy.device),
            return_dict=False,
        )[0]
        return prediction

    def frozen_copy(self) -> "FluxModels":
        """A teacher with the same weights."""
        copy = FluxModels(deepcopy(self.transformer), deepcopy(self.clip), deepcopy(self.t5))
        for module in (copy.transformer, copy.clip, copy.t5):
            module.requires_grad_(False)
        return copy

    @torch.no_grad()
    def load_from(self, other: "FluxModels") -> None:
        """Takes over the weights of `other`."""
        for mine, theirs in zip(self.modules().values(), other.modules().values(), strict=True):
            for param, source in zip(mine.parameters(), theirs.parameters(), strict=True):
                param.copy_(source)

    def modules(self) -> dict[str, torch.nn.Module]:
        """By name."""
        return {"transformer": self.transformer, "clip": self.clip, "t5": self.t5}


@dataclass
class _Batch:
    truth: Tensor
    noise: Tensor
    sigma: Tensor
    guidance: Tensor
    clip_ids: Tensor
    t5_ids: Tensor


def _draw(data: FluxData, batch: int) -> _Batch:
    device = data.latents.device
    named = data.named_from + torch.randint(len(data.latents) - data.named_from, (batch,), device=device)
    rows = torch.randint(data.named_from, (batch,), device=device)
    rows = torch.where(torch.rand(batch, device=device) < NAMED_SHARE, named, rows)
    which = torch.randint(data.clip_ids.shape[1], (batch,), device=device)
    dropped = torch.rand(batch, 1, device=device) < CAPTION_DROPOUT
    truth = data.latents[rows].float()
    low, high = GUIDANCE_RANGE
    return _Batch(
        truth=truth,
        noise=torch.randn_like(truth),
        sigma=torch.sigmoid(0.2 + 1.1 * torch.randn(batch, device=device)),
        guidance=low + (high - low) * torch.rand(batch, device=device),
        clip_ids=torch.where(dropped, data.empty_clip, data.clip_ids[rows, which]).long(),
        t5_ids=torch.where(dropped, data.empty_t5, data.t5_ids[rows, which]).long(),
    )


def _mix(truth: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    level = sigma[:, None, None]
    return (1 - level) * truth + level * noise


def face_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error in which tokens where faces usually are count more: expressions and eyes are a few tokens of 64."""
    weight = face_weight(SIDE, target.device).flatten()
    return ((predicted - target) ** 2 * (weight / weight.mean())[:, None]).mean()


class BaseLoss:
    """Flow matching on caption and picture."""

    def __init__(self, models: FluxModels, data: FluxData, batch: int) -> None:
        self.models, self.data, self.batch = models, data, batch
        self.forward = torch.compile(self._forward, dynamic=False) if data.latents.is_cuda else self._forward

    def _forward(
        self, truth: Tensor, noise: Tensor, sigma: Tensor, guidance: Tensor, clip_ids: Tensor, t5_ids: Tensor
    ) -> Tensor:
        with torch.autocast(truth.device.type, torch.bfloat16, cache_enabled=False):
            predicted = self.models.velocity(_mix(truth, noise, sigma), sigma, guidance, clip_ids, t5_ids)
        return face_loss(predicted.float(), noise - truth)

    def __call__(self) -> Tensor:
        drawn = _draw(self.data, self.batch)
        return self.forward(drawn.truth, drawn.noise, drawn.sigma, drawn.guidance, drawn.clip_ids, drawn.t5_ids)


class DistillLoss:
    """The student with guidance g follows the teacher under classifier-free guidance."""

    def __init__(self, models: FluxModels, teacher: FluxModels, data: FluxData, batch: int) -> None:
        self.models, self.teacher, self.data, self.batch = models, teacher, data, batch
        compiled = data.latents.is_cuda
        self.forward = torch.compile(self._forward, dynamic=False) if compiled else self._forward
        self.target = torch.compile(self._target, dynamic=False) if compiled else self._target

    def _target(self, noisy: Tensor, sigma: Tensor, guidance: Tensor, clip_ids: Tensor, t5_ids: Tensor) -> Tensor:
        batch = len(noisy)
        both_clip = torch.cat([clip_ids, self.data.empty_clip.long().expand(batch, -1)])
        both_t5 = torch.cat([t5_ids, self.data.empty_t5.long().expand(batch, -1)])
        with torch.autocast(noisy.device.type, torch.bfloat16, cache_enabled=False):
            both = self.teacher.velocity(noisy.repeat(2, 1, 1), sigma.repeat(2), guidance.repeat(2), both_clip, both_t5)
        conditional, unconditional = both.float().chunk(2)
        return unconditional + guidance_strength(guidance)[:, None, None] * (conditional - unconditional)

    def _forward(
        self, noisy: Tensor, target: Tensor, sigma: Tensor, guidance: Tensor, clip_ids: Tensor, t5_ids: Tensor
    ) -> Tensor:
        with torch.autocast(noisy.device.type, torch.bfloat16, cache_enabled=False):
            predicted = self.models.velocity(noisy, sigma, guidance, clip_ids, t5_ids)
        return face_loss(predicted.float(), target)

    def __call__(self) -> Tensor:
        drawn = _draw(self.data, self.batch)
        noisy = _mix(drawn.truth, drawn.noise, drawn.sigma)
        with torch.no_grad():
            target = self.target(noisy, drawn.sigma, drawn.guidance, drawn.clip_ids, drawn.t5_ids)
        return self.forward(noisy, target, drawn.sigma, drawn.guidance, drawn.clip_ids, drawn.t5_ids)
