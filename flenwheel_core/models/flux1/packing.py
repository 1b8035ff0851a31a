"""How FLUX sees pictures: 2x2 patches of latents as tokens, with their row and column as ids (as in FluxPipeline)."""

import torch

PIXELS_PER_TOKEN = 16
"""A token covers a 2x2 patch of latents, a latent 8x8 pixels."""


def pack(latents: torch.Tensor) -> torch.Tensor:
    """(batch, channels, height, width) latents as (batch, height/2 * width/2, channels*4) tokens."""
    batch, channels, height, width = latents.shape
    patches = latents.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, (height // 2) * (width // 2), channels * 4)


def unpack(tokens: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """The inverse of `pack` for a grid of `rows` x `columns` tokens."""
    batch, _, channels = tokens.shape
    patches = tokens.reshape(batch, rows, columns, channels // 4, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels // 4, rows * 2, columns * 2)


def image_ids(rows: int, columns: int) -> torch.Tensor:
    """(rows*columns, 3): zero, row, column of each token."""
    ids = torch.zeros(rows, columns, 3)
    ids[..., 1] = torch.arange(rows)[:, None]
    ids[..., 2] = torch.arange(columns)[None, :]
    return ids.reshape(rows * columns, 3)
