"""FLUX.2 klein at nano size: it draws and edits 128x128 pictures, 64 tokens each, with the autoencoder of nano FLUX."""

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from torch import Tensor
from transformers import PreTrainedTokenizerBase, Qwen3ForCausalLM

from flenwheel_core.nano.models.flux import LATENT_CHANNELS, zero_modulations
from flenwheel_core.nano.models.qwen3 import TAPS
from flenwheel_core.nano.models.qwen3 import WIDTH as TEXT_WIDTH

WIDTH = 160
HEADS = 5
DOUBLE, SINGLE = 2, 6
PLACES = (4, 12, 12, 4)
"""Of each head's 32 channels: picture, row, column, place in the prompt."""


def build_transformer() -> Flux2Transformer2DModel:
    """A FLUX.2 transformer whose blocks begin as the identity, 3.9 M parameters."""
    model = Flux2Transformer2DModel(
        patch_size=1,
        in_channels=LATENT_CHANNELS * 4,
        num_layers=DOUBLE,
        num_single_layers=SINGLE,
        attention_head_dim=WIDTH // HEADS,
        num_attention_heads=HEADS,
        joint_attention_dim=len(TAPS) * TEXT_WIDTH,
        axes_dims_rope=PLACES,
        guidance_embeds=False,
    )
    modulations = ("double_stream_modulation_img", "double_stream_modulation_txt", "single_stream_modulation")
    zero_modulations(model, (*(f"{name}.linear" for name in modulations), "norm_out.linear", "proj_out"))
    return model


def build_vae(flux: AutoencoderKL, mean: Tensor, variance: Tensor) -> AutoencoderKLFlux2:
    """FLUX's autoencoder in FLUX.2's class; mean and variance (64,) are those of its latents in 2x2 patches."""
    kept = ("block_out_channels", "down_block_types", "up_block_types", "layers_per_block", "latent_channels")
    facts = {name: flux.config[name] for name in (*kept, "norm_num_groups", "sample_size", "mid_block_add_attention")}
    vae = AutoencoderKLFlux2(**facts, use_quant_conv=False, use_post_quant_conv=False)
    vae.encoder.load_state_dict(flux.encoder.state_dict())
    vae.decoder.load_state_dict(flux.decoder.state_dict())
    vae.bn.running_mean.copy_(mean)
    vae.bn.running_var.copy_(variance)
    return vae.eval()


def build_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """klein's scheduler settings."""
    return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15)


def save_pipeline(
    folder: Path,
    vae: AutoencoderKLFlux2,
    transformer: Flux2Transformer2DModel,
    encoder: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Writes an ordinary Flux2KleinPipeline folder: transformer and text encoder in bf16, autoencoder in fp16."""
    Flux2KleinPipeline(
        scheduler=build_scheduler(),
        vae=vae.to("cpu", torch.float16),
        text_encoder=encoder.to("cpu", torch.bfloat16),
        tokenizer=tokenizer,
        transformer=transformer.to("cpu", torch.bfloat16),
    ).save_pretrained(folder)
