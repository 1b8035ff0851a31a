"""Tokens, time and noise levels as Z-Image has them (diffusers' ZImagePipeline and ZImageTransformer2DModel).

The transformer's time is 1 - sigma: 0 is noise, 1 is the picture. Its output is picture minus noise, which the pipeline negates. Everything
else in this program speaks of velocity as noise minus picture, so `velocity` is the only door to the transformer.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

PIXELS_PER_TOKEN = 16
"""Side of the square that one token stands for: 8x autoencoder, 2x2 patches."""
TEXT_TOKENS = 512
"""What is read of a prompt."""
NO_PROMPT = ""
"""What the pipeline steers away from."""


def pack(latents: Tensor) -> Tensor:
    """(batch, channels, rows * 2, columns * 2) as (batch, rows * columns, channels * 4)."""
    return torch.nn.functional.pixel_unshuffle(latents, 2).flatten(2).transpose(1, 2)


def unpack(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """The inverse of `pack`, for a grid of `rows` x `columns` tokens."""
    return torch.nn.functional.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (rows, columns)), 2)


def velocity(transformer: Any, noisy: Tensor, sigma: Tensor, texts: Sequence[Tensor]) -> Tensor:
    """Noise minus picture (batch, channels, height, width) for noisy latents at noise levels sigma (batch,), float32.

    `texts` are the prompts' hidden states (tokens, channels), each of its own length.
    """
    dtype = transformer.dtype
    given = [picture[:, None] for picture in noisy.to(dtype)]
    out = transformer(given, 1 - sigma, [text.to(noisy.device, dtype) for text in texts], return_dict=False)[0]
    return -torch.stack([picture[:, 0].float() for picture in out])


def log_shift(config: Any, tokens: int) -> float:
    """The exponent mu of a dynamic shift: linear in the picture's tokens, from the scheduler's configuration."""
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    base, top = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return float(base + (top - base) / (high - low) * (tokens - low))
