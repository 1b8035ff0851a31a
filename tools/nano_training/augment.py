"""Spoils training pictures the way small generators do: soft, bent, shifted, off-colour, noisy. Static shapes, no host."""

import torch
import torch.nn.functional as F
from torch import Tensor


def augmented(pictures: Tensor, *, hide: float, share: float = 1.0) -> Tensor:
    """uint8 (batch, 128, 128, 3) to float (batch, 3, 128, 128) in [-1, 1]; a rectangle is hidden in a share `hide`.

    Only a `share` of the pictures is touched.
    """
    clean = x = pictures.permute(0, 3, 1, 2).float() / 127.5 - 1
    batch, device = x.shape[0], x.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(batch, *shape, device=device)

    x = _bent(x)
    gain = 1 + 0.3 * (uniform(3, 1, 1) - 0.5)
    x = x * gain + 0.24 * (uniform(1, 1, 1) - 0.5)
    half = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2.0, mode="bilinear", align_corners=False)
    quarter = F.interpolate(F.avg_pool2d(x, 4), scale_factor=4.0, mode="bilinear", align_corners=False)
    soft = torch.where(uniform(1, 1, 1) < 0.3, quarter, half)
    x = torch.where(uniform(1, 1, 1) < 0.5, x + (soft - x) * uniform(1, 1, 1), x)
    # Blotches of the size of a latent pixel, as autoencoders and unfinished denoising leave them.
    blotches = F.interpolate(
        torch.randn(batch, 3, 16, 16, device=device), scale_factor=8.0, mode="bilinear", align_corners=False
    )
    x = x + 0.12 * uniform(1, 1, 1) * blotches + 0.08 * uniform(1, 1, 1) * torch.randn_like(x)
    if hide > 0:
        line = torch.linspace(0, 1, x.shape[-1], device=device)
        left, top, width, height = uniform(1), uniform(1), 0.1 + 0.3 * uniform(1), 0.1 + 0.3 * uniform(1)
        columns = ((line - left).abs() < width / 2)[:, None, None, :]
        rows = ((line - top).abs() < height / 2)[:, None, :, None]
        hidden = columns & rows & (uniform(1, 1, 1) < hide)
        x = torch.where(hidden, 2 * uniform(3, 1, 1) - 1, x)
    x = x.clamp(-1, 1)
    return x if share >= 1 else torch.where(uniform(1, 1, 1) < share, x, clean)


def _bent(x: Tensor) -> Tensor:
    """Shifted, scaled, turned a little, and pulled about smoothly."""
    batch, device = x.shape[0], x.device
    draw = torch.rand(batch, 4, device=device) - 0.5
    angle, scale = draw[:, 0] * 0.14, 1 + 0.2 * draw[:, 1]
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = (torch.stack((cos, -sin, 0.16 * draw[:, 2]), 1), torch.stack((sin, cos, 0.16 * draw[:, 3]), 1))
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    strength = 0.05 * torch.rand(batch, 1, 1, 1, device=device) ** 2
    flow = F.interpolate(
        strength * torch.randn(batch, 2, 6, 6, device=device), size=x.shape[-2:], mode="bilinear", align_corners=False
    )
    return F.grid_sample(x, grid + flow.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)
