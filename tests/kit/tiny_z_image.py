"""A Z-Image of the real classes with few, random weights."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
from transformers import Qwen3Config, Qwen3Model

from tests.kit.tiny_klein import tiny_tokenizer

TEXT_WIDTH = 8
CONFIG: dict[str, Any] = {
    "in_channels": 4,
    "dim": 32,
    "n_layers": 2,
    "n_refiner_layers": 1,
    "n_heads": 2,
    "n_kv_heads": 2,
    "cap_feat_dim": TEXT_WIDTH,
    "axes_dims": [4, 6, 6],
    "axes_lens": [1024, 64, 64],
}


def tiny_transformer(seed: int = 0) -> ZImageTransformer2DModel:
    """Pads count: their tokens are not zero."""
    torch.manual_seed(seed)
    transformer = ZImageTransformer2DModel.from_config(CONFIG)
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.5 if "pad_token" in name else 0.15)
    return transformer.requires_grad_(False).eval()


def tiny_vae() -> AutoencoderKL:
    torch.manual_seed(1)
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
        scaling_factor=0.36,
        shift_factor=0.12,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    return vae.requires_grad_(False).eval()


def tiny_encoder(vocabulary: int) -> Qwen3Model:
    torch.manual_seed(2)
    encoder = Qwen3Model(
        Qwen3Config(
            vocab_size=vocabulary,
            hidden_size=TEXT_WIDTH,
            intermediate_size=8,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=4,
            max_position_embeddings=1024,
        )
    )
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3)
    return encoder.requires_grad_(False).eval()


def tiny_pipeline() -> ZImagePipeline:
    """The whole model."""
    tokenizer = tiny_tokenizer()
    pipeline = ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=tiny_vae(),
        text_encoder=tiny_encoder(len(tokenizer)),
        tokenizer=tokenizer,
        transformer=tiny_transformer(),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_tiny(folder: Path) -> Path:
    """A model folder as diffusers writes it."""
    tiny_pipeline().save_pretrained(folder)
    return folder
