"""The autoencoder for single pictures computes what diffusers' own does."""

import pytest
import torch
from diffusers import AutoencoderKLQwenImage

from flenwheel_core.models.qwen_image.still_pictures import for_single_pictures


@pytest.fixture
def vae() -> AutoencoderKLQwenImage:
    torch.manual_seed(0)
    small = AutoencoderKLQwenImage(base_dim=8, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[True])
    return small.eval().requires_grad_(False)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5])
def test_pictures_and_films_are_what_they_were(vae: AutoencoderKLQwenImage, frames: int) -> None:
    pixels = torch.randn(2, 3, frames, 24, 32)

    def both_ways() -> tuple[torch.Tensor, torch.Tensor]:
        latents = vae.encode(pixels).latent_dist.mode()
        return latents, vae.decode(latents).sample

    before = both_ways()
    for_single_pictures(vae)
    for one, other in zip(before, both_ways(), strict=True):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_picture_is_not_multiplied_with_empty_frames(
    vae: AutoencoderKLQwenImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for_single_pictures(vae)
    monkeypatch.delattr(torch.nn.Conv3d, "forward")
    latents = vae.encode(torch.randn(1, 3, 1, 16, 16)).latent_dist.mode()
    assert vae.decode(latents).sample.shape == (1, 3, 1, 16, 16)
