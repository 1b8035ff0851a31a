"""Trains FLUX's autoencoder on rendered pictures and turns every picture into latents."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from flenwheel_core.nano.models.flux import build_vae
from tools.nano_training.autoencoder import VAE_PLAN, run_codec
from tools.nano_training.workspace import Run


class FluxCodec:
    """AutoencoderKL without its wrappers, so that one step compiles to one graph."""

    name = "vae"

    def __init__(self, vae: AutoencoderKL) -> None:
        self.module = vae

    def moments(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the posterior."""
        mean, logvar = self.module.encoder(pixels).chunk(2, dim=1)
        return mean, logvar.clamp(-20, 10)

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels, not clamped."""
        decoded: Tensor = self.module.decoder(latents)
        return decoded


def set_scale(vae: AutoencoderKL, latents: Tensor) -> None:
    """Writes the measured shift and scale of latents (count, channels, rows, columns) into the configuration."""
    sampled = latents[:: max(1, len(latents) // 8000)].float()
    vae.register_to_config(shift_factor=float(sampled.mean()), scaling_factor=float(1 / sampled.std()))


def scaled(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """What the transformer sees: shift first, then scale."""
    return (latents.float() - vae.config.shift_factor) * vae.config.scaling_factor


def unscaled(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """The inverse of `scaled`."""
    return latents / vae.config.scaling_factor + vae.config.shift_factor


@torch.no_grad()
def reconstruct(codec: FluxCodec, pixels: Tensor) -> Tensor:
    """Pixels through the autoencoder, without posterior noise."""
    return codec.decode(codec.moments(pixels)[0])


def load_trained(folder: Path, device: torch.device) -> AutoencoderKL:
    """The trained autoencoder in fp32."""
    vae: AutoencoderKL = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32, use_safetensors=True)
    return vae.to(device).eval()


def run(run: Run) -> None:
    """Trains, then writes `vae/`, the latents of all pictures and `vae.json` into the work folder."""
    torch.manual_seed(run.seed)
    codec = FluxCodec(build_vae().to(run.device))
    run_codec(run, codec, VAE_PLAN, set_scale, lambda pixels: reconstruct(codec, pixels))
