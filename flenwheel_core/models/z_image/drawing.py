"""Drawing one picture with a Z-Image transformer: the same way while training and afterwards."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.z_image.geometry import PIXELS_PER_TOKEN, log_shift, velocity

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler


@dataclass(frozen=True)
class DrawingParts:
    """What is loaded to draw with. The autoencoder visits the card only to decode."""

    transformer: Any
    scheduler: "FlowMatchEulerDiscreteScheduler"
    vae: "AutoencoderKL"
    device: torch.device


def draw_picture(
    parts: DrawingParts,
    prompt: Tensor,
    negative: Tensor | None,
    sampler: Sampler,
    seed: int,
    *,
    empties: bool = False,
) -> Image.Image:
    """The picture of a prompt; with `empties`, memory is given back to the card between the last step and decoding, and after it."""
    latents = draw(parts, prompt, negative, sampler, seed)
    vae = cast(Any, parts.vae)
    if empties:
        torch.cuda.empty_cache()
    vae.to(parts.device)
    try:
        with torch.no_grad():
            latents = latents.to(vae.dtype) / vae.config.scaling_factor + vae.config.shift_factor
            pixels = vae.decode(latents, return_dict=False)[0]
        array = (pixels[0].float() / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).cpu().numpy()
        return Image.fromarray((array * 255).round().astype(np.uint8))
    finally:
        if parts.device.type == "cuda":
            vae.to("cpu")
        if empties:
            torch.cuda.empty_cache()


@torch.no_grad()
def draw(parts: DrawingParts, prompt: Tensor, negative: Tensor | None, sampler: Sampler, seed: int) -> Tensor:
    """Latents (1, channels, height, width) of a picture, float32.

    `sampler.true_cfg` s mixes as everywhere in this program: unwanted + s (wanted - unwanted). The pipeline's `guidance_scale` is
    s - 1. Noise comes from a generator on the CPU, so that a seed means the same everywhere.
    """
    transformer, scheduler, device = parts.transformer, parts.scheduler, parts.device
    rows, columns = sampler.height // PIXELS_PER_TOKEN, sampler.width // PIXELS_PER_TOKEN
    shape = (1, transformer.config.in_channels, rows * 2, columns * 2)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)
    sigmas = np.linspace(1.0, 1 / sampler.steps, sampler.steps, dtype=np.float32)
    scheduler.set_timesteps(sigmas=sigmas.tolist(), device=device, mu=log_shift(scheduler.config, rows * columns))
    scheduler.set_begin_index(0)
    for time in scheduler.timesteps:
        sigma = time[None] / 1000
        predicted = velocity(transformer, latents, sigma, [prompt])
        if negative is not None and sampler.true_cfg > 1:
            unwanted = velocity(transformer, latents, sigma, [negative])
            predicted = unwanted + sampler.true_cfg * (predicted - unwanted)
        latents = scheduler.step(predicted, time, latents, return_dict=False)[0]
    return latents
