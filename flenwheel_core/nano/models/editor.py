"""The image editor at nano size, in the Qwen-Image-Edit classes: 128x128 pictures, 64 target and 64 reference tokens."""

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageEditPipeline,
    QwenImageTransformer2DModel,
)
from torch import Tensor
from transformers import PreTrainedTokenizerBase, ProcessorMixin, Qwen2_5_VLForConditionalGeneration

from flenwheel_core.nano.models.flux import zero_modulations

LATENT_CHANNELS = 16
WIDTH = 160
HEADS = 5
LAYERS = 6


def build_vae() -> AutoencoderKLQwenImage:
    """An 8x autoencoder for single frames with random weights, 2.2 M parameters. Its latent statistics are set after training."""
    vae = AutoencoderKLQwenImage(
        base_dim=16,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 2, 3, 4],
        num_res_blocks=1,
        temperal_downsample=[False, False, False],
        latents_mean=[0.0] * LATENT_CHANNELS,
        latents_std=[1.0] * LATENT_CHANNELS,
    )
    with torch.no_grad():
        for module in vae.modules():
            # One frame meets only the last slice of a causal kernel; the others would be noise in the file.
            if isinstance(module, torch.nn.Conv3d) and module.kernel_size[0] > 1:
                module.weight[:, :, :-1] = 0
                module.weight *= module.kernel_size[0] ** 0.5
    return vae


def build_transformer(text_width: int) -> QwenImageTransformer2DModel:
    """An MMDiT whose blocks begin as the identity (adaLN-zero), 5.7 M parameters; `text_width` is the VL model's hidden size."""
    head = WIDTH // HEADS
    model = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=LATENT_CHANNELS * 4,
        out_channels=LATENT_CHANNELS,
        num_layers=LAYERS,
        attention_head_dim=head,
        num_attention_heads=HEADS,
        joint_attention_dim=text_width,
        axes_dims_rope=(4, (head - 4) // 2, (head - 4) // 2),
    )
    zero_modulations(model, ("img_mod.1", "txt_mod.1", "norm_out.linear", "proj_out"))
    return model


def build_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Qwen-Image's scheduler settings, without its terminal shift: at 64 tokens the last step has to reach zero."""
    return FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000,
        shift=1.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=0.9,
        base_image_seq_len=256,
        max_image_seq_len=8192,
    )


def normalise(vae: AutoencoderKLQwenImage, latents: Tensor) -> Tensor:
    """Latents (batch, channels, ...) with mean 0 and deviation 1 in each channel, by the autoencoder's own statistics."""
    shape = (1, -1) + (1,) * (latents.ndim - 2)
    mean = torch.tensor(vae.config.latents_mean, device=latents.device, dtype=latents.dtype).view(shape)
    std = torch.tensor(vae.config.latents_std, device=latents.device, dtype=latents.dtype).view(shape)
    return (latents - mean) / std


def denormalise(vae: AutoencoderKLQwenImage, latents: Tensor) -> Tensor:
    """The inverse of `normalise`."""
    shape = (1, -1) + (1,) * (latents.ndim - 2)
    mean = torch.tensor(vae.config.latents_mean, device=latents.device, dtype=latents.dtype).view(shape)
    std = torch.tensor(vae.config.latents_std, device=latents.device, dtype=latents.dtype).view(shape)
    return latents * std + mean


def save_pipeline(
    folder: Path,
    vae: AutoencoderKLQwenImage,
    transformer: QwenImageTransformer2DModel,
    text_encoder: Qwen2_5_VLForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    processor: ProcessorMixin,
) -> None:
    """Writes an ordinary QwenImageEditPipeline folder; the text encoder's folder also holds its processor, so it loads alone."""
    QwenImageEditPipeline(
        scheduler=build_scheduler(),
        vae=vae.to("cpu", torch.float16),
        text_encoder=text_encoder.to("cpu", torch.bfloat16),
        tokenizer=tokenizer,
        processor=processor,
        transformer=transformer.to("cpu", torch.bfloat16),
    ).save_pretrained(folder)
    processor.save_pretrained(folder / "text_encoder")
