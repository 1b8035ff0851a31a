"""Rectified-flow training as FLUX.1 does it: noise levels, noisy inputs, targets and the loss.

`x_s = (1 - s) * x_0 + s * eps`, target `eps - x_0`, and the model's time is `s`: 0 is the picture, 1 is noise
(Esser et al. 2024, "Scaling Rectified Flow Transformers", section 2 and 3.1; Lipman et al. 2023). All of it in float32.
"""

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from flenwheel_core.recipes.train import SigmaRecipe


def shift_factor_for_tokens(
    image_tokens: int,
    *,
    base_tokens: int = 256,
    max_tokens: int = 4096,
    base_shift: float = 0.5,
    max_shift: float = 1.15,
) -> float:
    """exp(mu) with mu linear in the number of image tokens, as FluxPipeline shifts its noise levels."""
    slope = (max_shift - base_shift) / (max_tokens - base_tokens)
    return math.exp(base_shift + slope * (image_tokens - base_tokens))


def shift_sigma(sigma: torch.Tensor, factor: float) -> torch.Tensor:
    """Move noise levels towards noise: `f*s / (1 + (f-1)*s)` (Esser et al., eq. 23)."""
    return factor * sigma / (1 + (factor - 1) * sigma)


def sigma_of_uniform(uniform: torch.Tensor, recipe: "SigmaRecipe", *, shift: float) -> torch.Tensor:
    """Noise levels whose density is the recipe's, from `uniform` numbers in (0, 1); same shape, float32.

    Densities: Esser et al., section 3.1 (logit-normal, mode with heavy tails, CosMap).
    """
    u = uniform.to(torch.float32).clamp(1e-6, 1 - 1e-6)
    if recipe.density == "logit_normal":
        normal = math.sqrt(2.0) * torch.erfinv(2 * u - 1)
        sigma = torch.sigmoid(recipe.logit_mean + recipe.logit_std * normal)
    elif recipe.density == "mode":
        v = 1 - u
        sigma = 1 - v - recipe.mode_scale * (torch.cos(math.pi / 2 * v) ** 2 - 1 + v)
    elif recipe.density == "cosmap":
        sigma = 1 - 1 / (torch.tan(math.pi / 2 * u) + 1)
    else:
        sigma = u
    return shift_sigma(sigma, shift).clamp(1e-4, 1.0)


def noisy_input(clean: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """`(1 - s) * clean + s * noise`; clean and noise (batch, ...), sigma (batch,), all float32."""
    level = sigma.reshape(-1, *([1] * (clean.ndim - 1)))
    return (1 - level) * clean + level * noise


def velocity_target(clean: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """d x_s / d s, which the model predicts."""
    return noise - clean


def flow_loss(prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Mean squared error of each item, shape (batch,), float32.

    `weight` broadcasts against the prediction; each item is divided by its own mean weight, so that a small mask does
    not make a small gradient.
    """
    error = (prediction.float() - target.float()) ** 2
    if weight is None:
        return error.flatten(1).mean(1)
    weight = weight.float().expand_as(error)
    return (error * weight).flatten(1).sum(1) / weight.flatten(1).sum(1).clamp_min(1e-6)
