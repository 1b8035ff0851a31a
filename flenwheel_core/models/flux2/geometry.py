"""How FLUX.2 sees pictures: latents in 2x2 patches, normalised by the autoencoder's batch norm, and places in four axes.

The same tensors as diffusers' Flux2KleinPipeline makes; equality is tested.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from flenwheel_core.images.buckets import Placement, fit

if TYPE_CHECKING:
    from diffusers import AutoencoderKLFlux2

PIXELS_PER_TOKEN = 16
"""Side of the square that one token stands for: 8x autoencoder, 2x2 patches."""
TEXT_TOKENS = 512
"""Prompts are padded to so many tokens, and the transformer reads the padding too."""
REFERENCE_TIME = 10
"""Each reference is so much later than the picture before it, on the first of the four axes."""
DRAWN_STEPS = 50
"""The base models are drawn in so many steps: the shift of the noise levels depends on it."""

Size = tuple[int, int]
"""Width and height in pixels, as PIL has it."""


@dataclass(frozen=True)
class Latents:
    """Clean tokens of a picture, float32, and its grid."""

    tokens: Tensor
    """(rows * columns, channels)."""
    rows: int
    columns: int


def grid_of(size: Size) -> tuple[int, int]:
    """Rows and columns of tokens of a picture."""
    return size[1] // PIXELS_PER_TOKEN, size[0] // PIXELS_PER_TOKEN


def whole_size(size: Size) -> Size:
    """The largest size of whole tokens within `size`."""
    rows, columns = grid_of(size)
    return columns * PIXELS_PER_TOKEN, rows * PIXELS_PER_TOKEN


def source_placement(size: Size, area: int) -> Placement:
    """Where the source of an edit goes: scaled to about `area` pixels, and cut to whole tokens. The result has the same size.

    For sources of at least `area` pixels it is the pipeline's own; smaller ones, which the pipeline leaves small, are made larger.
    """
    return _cut(_scaled(size, area))


def reference_placement(size: Size, area: int) -> Placement:
    """Where a further reference goes: made smaller if it has more than `area` pixels, and cut to whole tokens."""
    return _cut(_scaled(size, area) if size[0] * size[1] > area else size)


def _scaled(size: Size, area: int) -> Size:
    scale = math.sqrt(area / (size[0] * size[1]))
    return int(size[0] * scale), int(size[1] * scale)


def _cut(scaled: Size) -> Placement:
    scaled = max(scaled[0], PIXELS_PER_TOKEN), max(scaled[1], PIXELS_PER_TOKEN)
    return Placement(*whole_size(scaled), scaled)


def pixels_of(image: Image.Image, placement: Placement) -> Tensor:
    """(1, 3, height, width) in [-1, 1]."""
    array = np.asarray(fit(image.convert("RGB"), placement), dtype=np.float32) / 255.0
    return (2.0 * torch.from_numpy(array).permute(2, 0, 1) - 1.0)[None]


@torch.no_grad()
def encode_pixels(vae: "AutoencoderKLFlux2", pixels: Tensor) -> Tensor:
    """Clean tokens (batch, tokens, channels), float32, of pixels (batch, 3, height, width): the posterior's mode, normalised."""
    latents = patched(vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode().float())
    mean, deviation = _statistics(vae, latents)
    return (latents - mean) / deviation


@torch.no_grad()
def decode_tokens(vae: "AutoencoderKLFlux2", tokens: Tensor, size: Size) -> Tensor:
    """Pixels (batch, 3, height, width) in [-1, 1] of tokens (batch, tokens, channels)."""
    tokens = tokens.to(vae.device)
    mean, deviation = _statistics(vae, tokens)
    latents = unpatched(tokens * deviation + mean, *grid_of(size))
    decoded: Tensor = vae.decode(latents.to(vae.dtype), return_dict=False)[0]
    return decoded


def to_picture(pixels: Tensor) -> Image.Image:
    """The picture of pixels (1, 3, height, width) in [-1, 1]."""
    array = (pixels[0].float() / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    return Image.fromarray((array * 255).round().astype(np.uint8))


def patched(latents: Tensor) -> Tensor:
    """(batch, channels, height, width) to (batch, height / 2 * width / 2, channels * 4)."""
    batch, channels, height, width = latents.shape
    patches = latents.reshape(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(batch, (height // 2) * (width // 2), channels * 4)


def unpatched(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """The inverse of `patched` for a grid of `rows` x `columns` tokens."""
    batch, _, channels = tokens.shape
    patches = tokens.reshape(batch, rows, columns, channels // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return patches.reshape(batch, channels // 4, rows * 2, columns * 2)


def picture_places(rows: int, columns: int, *, time: int = 0) -> Tensor:
    """(rows * columns, 4): time, row, column and zero of each token."""
    places = torch.zeros(rows, columns, 4, dtype=torch.int64)
    places[..., 0] = time
    places[..., 1] = torch.arange(rows)[:, None]
    places[..., 2] = torch.arange(columns)[None, :]
    return places.reshape(rows * columns, 4)


def reference_places(references: Sequence[Latents]) -> Tensor:
    """(tokens of all references, 4): the first one at time 10, the next at 20, and so on."""
    places = [
        picture_places(one.rows, one.columns, time=REFERENCE_TIME * (number + 1))
        for number, one in enumerate(references)
    ]
    return torch.cat([*places, torch.zeros(0, 4, dtype=torch.int64)])


def text_places(tokens: int) -> Tensor:
    """(tokens, 4): zero, zero, zero and the place in the prompt."""
    places = torch.zeros(tokens, 4, dtype=torch.int64)
    places[:, 3] = torch.arange(tokens)
    return places


def log_shift(target_tokens: int, steps: int = DRAWN_STEPS) -> float:
    """The exponent mu of the schedule's shift, as the pipeline has it for so many tokens of the drawn picture and so many steps."""
    from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

    return float(compute_empirical_mu(target_tokens, steps))


def _statistics(vae: "AutoencoderKLFlux2", like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (channels * 4) of tokens, in float32 whatever the weights are in."""
    mean, variance = vae.bn.running_mean.float(), vae.bn.running_var.float()
    return mean.to(like.device), torch.sqrt(variance + vae.config.batch_norm_eps).to(like.device)
