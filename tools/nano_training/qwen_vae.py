"""Trains the editor's autoencoder. On one frame its causal 3-D kernels act as 2-D ones, and training runs them as such."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLQwenImage
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import QwenImageCausalConv3d
from torch import Tensor, nn

from flenwheel_core.nano.models.editor import build_vae
from tools.nano_training.autoencoder import VAE_PLAN, run_codec
from tools.nano_training.workspace import Run


class FrameConv(nn.Module):
    """Shares the weights of a causal 3-D convolution and applies its last temporal slice to a single frame."""

    def __init__(self, conv: QwenImageCausalConv3d) -> None:
        super().__init__()
        self.weight = conv.weight
        self.bias = conv.bias
        self.stride = conv.stride[1:]
        self.pad = conv._padding[2], conv._padding[0]

    def forward(self, x: Tensor, cache_x: Tensor | None = None) -> Tensor:
        """(batch, channels, 1, rows, columns) -> the same layout."""
        return F.conv2d(x[:, :, 0], self.weight[:, :, -1], self.bias, self.stride, self.pad).unsqueeze(2)


def as_frames(module: nn.Module) -> nn.Module:
    """Replaces every causal convolution in place. Names and parameters of the state dict stay as they were."""
    for name, child in module.named_children():
        if isinstance(child, QwenImageCausalConv3d):
            setattr(module, name, FrameConv(child))
        else:
            as_frames(child)
    return module


class QwenCodec:
    """AutoencoderKLQwenImage on single pictures."""

    name = "qwen_vae"

    def __init__(self, vae: AutoencoderKLQwenImage) -> None:
        self.module: Any = as_frames(vae)

    def moments(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the posterior."""
        hidden = self.module.quant_conv(self.module.encoder(pixels.unsqueeze(2)))[:, :, 0]
        mean, logvar = hidden.chunk(2, dim=1)
        return mean, logvar.clamp(-20, 10)

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels, not clamped."""
        decoded: Tensor = self.module.decoder(self.module.post_quant_conv(latents.unsqueeze(2)))[:, :, 0]
        return decoded


def set_statistics(vae: AutoencoderKLQwenImage, latents: Tensor) -> None:
    """Writes the measured mean and deviation of each channel of latents (count, channels, rows, columns)."""
    sampled = latents[:: max(1, len(latents) // 8000)].float()
    vae.register_to_config(
        latents_mean=[float(x) for x in sampled.mean((0, 2, 3))], latents_std=[float(x) for x in sampled.std((0, 2, 3))]
    )


@torch.no_grad()
def reconstruct(codec: QwenCodec, pixels: Tensor) -> Tensor:
    """Pixels through the autoencoder, without posterior noise."""
    return codec.decode(codec.moments(pixels)[0])


def load_trained(folder: Path, device: torch.device) -> AutoencoderKLQwenImage:
    """The trained autoencoder in fp32."""
    vae: AutoencoderKLQwenImage = AutoencoderKLQwenImage.from_pretrained(
        folder, torch_dtype=torch.float32, use_safetensors=True
    )
    return vae.to(device).eval()


def run(run: Run) -> None:
    """Trains, then writes `qwen_vae/`, the latents of all pictures and `qwen_vae.json` into the work folder."""
    torch.manual_seed(run.seed)
    codec = QwenCodec(build_vae().to(run.device))
    run_codec(run, codec, VAE_PLAN, set_statistics, lambda pixels: reconstruct(codec, pixels))
