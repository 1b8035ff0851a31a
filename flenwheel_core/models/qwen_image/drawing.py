"""Drawing one edit with a Qwen-Image-Edit transformer: the same way while training and afterwards."""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from flenwheel_core.models.qwen_image.conditioning import PIXELS_PER_TOKEN, EditSizes, log_shift, pack

if TYPE_CHECKING:
    from diffusers import FlowMatchEulerDiscreteScheduler, QwenImageTransformer2DModel


@torch.no_grad()
def draw(
    transformer: "QwenImageTransformer2DModel",
    scheduler: "FlowMatchEulerDiscreteScheduler",
    sizes: EditSizes,
    references: Tensor,
    prompt: Tensor,
    negative: Tensor | None,
    *,
    steps: int,
    true_cfg: float,
    seed: int,
    shift: float | None = None,
) -> Tensor:
    """Latents (1, target tokens, channels) of an edit, float32.

    `references` are clean latents (1, reference tokens, channels), `prompt` and `negative` hidden states (tokens, channels). Without
    `negative`, or with `true_cfg` 1, every step is one call of the transformer. Noise comes from a generator on the CPU,
    so that a seed means the same everywhere. `shift` is for few-step LoRAs: see `few_step_scheduler`.
    """
    device, dtype = references.device, transformer.dtype
    latents = initial_noise(sizes, transformer.config.in_channels, seed).to(device)
    sigmas = np.linspace(1.0, 1 / steps, steps)
    if shift is not None:
        scheduler = few_step_scheduler(scheduler, shift)
    scheduler.set_timesteps(sigmas=sigmas, device=device, mu=log_shift(scheduler, sizes.target_tokens))
    scheduler.set_begin_index(0)
    shapes = [sizes.image_shapes()]
    clean = references.to(dtype)

    def predict(text: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        prediction: Tensor = transformer(
            hidden_states=torch.cat([noisy, clean], dim=1),
            timestep=time,
            encoder_hidden_states=text[None].to(device, dtype),
            img_shapes=shapes,
            return_dict=False,
        )[0]
        return prediction[:, : sizes.target_tokens].float()

    for time in scheduler.timesteps:
        at = (time / 1000)[None].to(dtype)
        noisy = latents.to(dtype)
        predicted = predict(prompt, noisy, at)
        if negative is not None and true_cfg > 1:
            predicted = guided(predicted, predict(negative, noisy, at), true_cfg)
        latents = scheduler.step(predicted, time, latents, return_dict=False)[0]
    return latents


def few_step_scheduler(scheduler: "FlowMatchEulerDiscreteScheduler", shift: float) -> "FlowMatchEulerDiscreteScheduler":
    """The scheduler that few-step LoRAs were distilled with: the same exponential shift at every size, down to no noise at all.

    Qwen-Image-Lightning's recipe for diffusers: both ends of the dynamic shift at ln(shift), with shift 3, and no terminal value.
    """
    fixed: FlowMatchEulerDiscreteScheduler = type(scheduler).from_config(
        scheduler.config, base_shift=math.log(shift), max_shift=math.log(shift), shift_terminal=None
    )
    return fixed


def guided(wanted: Tensor, unwanted: Tensor, scale: float) -> Tensor:
    """True classifier-free guidance, scaled back token by token to the length it had without (Qwen-Image's pipelines)."""
    mixed = unwanted + scale * (wanted - unwanted)
    length: Tensor = wanted.norm(dim=-1, keepdim=True) / mixed.norm(dim=-1, keepdim=True)
    return mixed * length


def initial_noise(sizes: EditSizes, channels: int, seed: int) -> Tensor:
    """Noise (1, target tokens, channels), the same as the pipelines draw for a seed."""
    rows, columns = sizes.target[1] // PIXELS_PER_TOKEN * 2, sizes.target[0] // PIXELS_PER_TOKEN * 2
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn((1, 1, channels // 4, rows, columns), generator=generator)
    return pack(drawn.transpose(1, 2))
