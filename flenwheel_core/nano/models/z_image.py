"""Z-Image at nano size: it draws 128x128 pictures, 64 tokens each, with the autoencoder of nano FLUX and klein's text encoder."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
from transformers import PreTrainedTokenizerBase, Qwen3ForCausalLM

from flenwheel_core.nano.models.flux import LATENT_CHANNELS, zero_modulations
from flenwheel_core.nano.models.qwen3 import WIDTH as TEXT_WIDTH

WIDTH = 160
HEADS = 5
LAYERS, REFINERS = 4, 1
PLACES = (8, 12, 12)
"""Of each head's 32 channels: place in prompt and sequence, row, column."""
SHIFT = 3.0


def build_transformer() -> ZImageTransformer2DModel:
    """A Z-Image transformer whose modulated blocks begin as the identity, 2.9 M parameters."""
    model = ZImageTransformer2DModel(
        in_channels=LATENT_CHANNELS,
        dim=WIDTH,
        n_layers=LAYERS,
        n_refiner_layers=REFINERS,
        n_heads=HEADS,
        n_kv_heads=HEADS,
        cap_feat_dim=TEXT_WIDTH,
        axes_dims=list(PLACES),
        axes_lens=[640, 64, 64],
    )
    zero_modulations(model, ("adaLN_modulation.0", "adaLN_modulation.1", "2-1.linear"))
    return model


def build_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Z-Image's scheduler settings."""
    return FlowMatchEulerDiscreteScheduler(shift=SHIFT)


def save_pipeline(
    folder: Path,
    vae: AutoencoderKL,
    transformer: ZImageTransformer2DModel,
    encoder: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Writes an ordinary ZImagePipeline folder: transformer and text encoder in bf16, autoencoder in fp16."""
    ZImagePipeline(
        scheduler=build_scheduler(),
        vae=vae.to("cpu", torch.float16),
        text_encoder=encoder.model.to("cpu", torch.bfloat16),
        tokenizer=tokenizer,
        transformer=transformer.to("cpu", torch.bfloat16),
    ).save_pretrained(folder)
