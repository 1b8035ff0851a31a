"""Drawing one picture or edit with a FLUX.2 transformer: the same way while training and afterwards."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from flenwheel_core.models.flux2.geometry import (
    Latents,
    Size,
    decode_tokens,
    grid_of,
    log_shift,
    picture_places,
    reference_places,
    text_places,
    to_picture,
)

if TYPE_CHECKING:
    from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler


@dataclass(frozen=True)
class Drawing:
    """One picture to draw."""

    size: Size
    seed: int
    steps: int
    prompt: Tensor
    """(text tokens, channels)."""
    negative: Tensor | None = None
    """The same for what is not wanted; None: no second call a step."""
    true_cfg: float = 1.0
    references: Sequence[Latents] = ()
    shift: float | None = None
    """Fixed shift of the noise levels, for few-step LoRAs; None: the model's own schedule."""


@dataclass(frozen=True)
class DrawingParts:
    """What is loaded to draw with. The autoencoder visits the card only to decode."""

    transformer: Any
    scheduler: "FlowMatchEulerDiscreteScheduler"
    vae: "AutoencoderKLFlux2"


def draw_picture(parts: DrawingParts, drawing: Drawing, device: torch.device, *, empties: bool = False) -> Image.Image:
    """The picture. With `empties`, memory is given back to the card between the last step and decoding, and after it."""
    tokens = draw(parts.transformer, parts.scheduler, drawing, device)
    if empties:
        torch.cuda.empty_cache()
    parts.vae.to(device)
    try:
        return to_picture(decode_tokens(parts.vae, tokens, drawing.size))
    finally:
        if device.type == "cuda":
            parts.vae.to("cpu")
        if empties:
            torch.cuda.empty_cache()


@torch.no_grad()
def draw(
    transformer: Any, scheduler: "FlowMatchEulerDiscreteScheduler", drawing: Drawing, device: torch.device
) -> Tensor:
    """The tokens (1, tokens, channels) of a picture, float32.

    Noise comes from a generator on the CPU, so that a seed means the same everywhere; latents stay float32 between the steps.
    """
    dtype = transformer.dtype
    rows, columns = grid_of(drawing.size)
    latents = initial_noise(drawing.size, transformer.config.in_channels, drawing.seed).to(device)
    clean = torch.cat([latents.new_zeros(0, latents.shape[-1]), *(one.tokens.to(device) for one in drawing.references)])
    places = torch.cat([picture_places(rows, columns), reference_places(drawing.references)]).to(device)
    mu = log_shift(rows * columns, drawing.steps) if drawing.shift is None else math.log(drawing.shift)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / drawing.steps, drawing.steps), device=device, mu=mu)
    scheduler.set_begin_index(0)

    def predict(text: Tensor, time: Tensor) -> Tensor:
        prediction: Tensor = transformer(
            hidden_states=torch.cat([latents, clean[None]], dim=1).to(dtype),
            timestep=time,
            encoder_hidden_states=text[None].to(device, dtype),
            txt_ids=text_places(len(text)).to(device),
            img_ids=places,
            return_dict=False,
        )[0]
        return prediction[:, : rows * columns].float()

    for time in scheduler.timesteps:
        at = time[None].to(latents.dtype) / 1000
        predicted = predict(drawing.prompt, at)
        if drawing.negative is not None and drawing.true_cfg > 1:
            unwanted = predict(drawing.negative, at)
            predicted = unwanted + drawing.true_cfg * (predicted - unwanted)
        latents = scheduler.step(predicted, time, latents, return_dict=False)[0]
    return latents


def initial_noise(size: Size, channels: int, seed: int) -> Tensor:
    """Noise (1, tokens, channels), the same as the pipeline draws for a seed in float32."""
    rows, columns = grid_of(size)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, channels, rows, columns), generator=generator).flatten(2).transpose(1, 2)
