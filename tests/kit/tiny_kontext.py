"""A FLUX.1 Kontext of the real classes with few, random weights."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, FluxKontextPipeline
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from flenwheel_core.nano.models.flux import build_scheduler
from flenwheel_core.nano.models.tokenizers import build_clip_tokenizer, build_t5_tokenizer
from tests.kit.tiny_flux import CONFIG, tiny_transformer

_WORDS = ["photo of ohwx person, smiling", "make it smile"] * 30


def tiny_vae() -> AutoencoderKL:
    """8 pixels a latent as the real one, with a shift and a scale that matter."""
    torch.manual_seed(1)
    channels = (4, 4, 4, 4)
    return (
        AutoencoderKL(
            block_out_channels=channels,
            down_block_types=("DownEncoderBlock2D",) * len(channels),
            up_block_types=("UpDecoderBlock2D",) * len(channels),
            layers_per_block=1,
            latent_channels=CONFIG["in_channels"] // 4,
            norm_num_groups=2,
            sample_size=32,
            mid_block_add_attention=False,
            scaling_factor=0.36,
            shift_factor=0.12,
        )
        .requires_grad_(False)
        .eval()
    )


def tiny_pipeline() -> FluxKontextPipeline:
    """The whole model."""
    clip, t5 = build_clip_tokenizer(_WORDS), build_t5_tokenizer(_WORDS, ())
    torch.manual_seed(2)
    pooled = CLIPTextConfig(
        vocab_size=len(clip),
        hidden_size=CONFIG["pooled_projection_dim"],
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=clip.model_max_length,
        eos_token_id=clip.eos_token_id,
    )
    tokens = T5Config(
        vocab_size=len(t5), d_model=CONFIG["joint_attention_dim"], d_kv=8, d_ff=8, num_layers=1, num_heads=2
    )
    pipeline = FluxKontextPipeline(
        scheduler=build_scheduler(),
        vae=tiny_vae(),
        text_encoder=CLIPTextModel(pooled).eval(),
        tokenizer=clip,
        text_encoder_2=T5EncoderModel(tokens).eval(),
        tokenizer_2=t5,
        transformer=tiny_transformer(),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_tiny(folder: Path) -> Path:
    """A model folder as diffusers writes it."""
    tiny_pipeline().save_pretrained(folder)
    return folder
