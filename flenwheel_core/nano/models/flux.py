"""FLUX at nano size: 128x128 pictures, 16x16 latents of 16 channels, 64 packed image tokens, 64 text tokens."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5TokenizerFast

PICTURE_SIZE = 128
LATENT_CHANNELS = 16
TEXT_TOKENS = 64
TEXT_WIDTH = 128
WIDTH = 192
HEADS = 6


def build_vae() -> AutoencoderKL:
    """An 8x autoencoder with random weights, 2.3 M parameters."""
    channels = (32, 64, 96, 96)
    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=16,
        sample_size=PICTURE_SIZE,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
        force_upcast=False,
    )


def build_transformer(double: int = 2, single: int = 8) -> FluxTransformer2DModel:
    """A FLUX transformer whose blocks begin as the identity (adaLN-zero), 7.5 M parameters."""
    head = WIDTH // HEADS
    model = FluxTransformer2DModel(
        patch_size=1,
        in_channels=LATENT_CHANNELS * 4,
        num_layers=double,
        num_single_layers=single,
        attention_head_dim=head,
        num_attention_heads=HEADS,
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=TEXT_WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(4, (head - 4) // 2, (head - 4) // 2),
    )
    zero_modulations(model, ("norm1.linear", "norm1_context.linear", "norm.linear", "norm_out.linear", "proj_out"))
    return model


def zero_modulations(model: nn.Module, endings: tuple[str, ...]) -> None:
    """Sets linear layers to zero: those whose name is, or ends with a dot and, one of `endings` (a bare name only at the top)."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and any(name == e or ("." in e and name.endswith(f".{e}")) for e in endings):
            nn.init.zeros_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def build_clip(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The pooled text encoder, 0.4 M parameters."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=256,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TEXT_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_t5(tokenizer: T5TokenizerFast) -> T5EncoderModel:
    """The token-wise text encoder, 0.6 M parameters."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=TEXT_WIDTH,
            d_kv=32,
            d_ff=256,
            num_layers=3,
            num_heads=4,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def build_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """FLUX.1-dev's scheduler settings."""
    return FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000,
        shift=3.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=256,
        max_image_seq_len=4096,
    )


def pack(latents: Tensor) -> Tensor:
    """(batch, channels, rows, columns) -> (batch, rows/2 * columns/2, channels * 4), as FluxPipeline packs."""
    batch, channels, rows, columns = latents.shape
    halves = latents.view(batch, channels, rows // 2, 2, columns // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return halves.reshape(batch, (rows // 2) * (columns // 2), channels * 4)


def unpack(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """The inverse of `pack`, for latents of `rows` x `columns`."""
    batch, _, width = tokens.shape
    halves = tokens.view(batch, rows // 2, columns // 2, width // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return halves.reshape(batch, width // 4, rows, columns)


def image_ids(rows: int, columns: int, device: torch.device | str) -> Tensor:
    """Position ids of packed image tokens, (rows * columns, 3)."""
    ids = torch.zeros(rows, columns, 3, device=device)
    ids[..., 1] += torch.arange(rows, device=device)[:, None]
    ids[..., 2] += torch.arange(columns, device=device)[None]
    return ids.reshape(-1, 3)


def save_pipeline(
    folder: Path,
    vae: AutoencoderKL,
    transformer: FluxTransformer2DModel,
    clip: CLIPTextModel,
    t5: T5EncoderModel,
    tokenizer: CLIPTokenizer,
    tokenizer_2: T5TokenizerFast,
) -> None:
    """Writes an ordinary FluxPipeline folder: transformer and text encoders in bf16, autoencoder in fp16."""
    FluxPipeline(
        scheduler=build_scheduler(),
        vae=vae.to("cpu", torch.float16),
        text_encoder=clip.to("cpu", torch.bfloat16),
        tokenizer=tokenizer,
        text_encoder_2=t5.to("cpu", torch.bfloat16),
        tokenizer_2=tokenizer_2,
        transformer=transformer.to("cpu", torch.bfloat16),
    ).save_pretrained(folder)
