"""A FLUX.2 klein of the real classes with few, random weights."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel
from tokenizers import pre_tokenizers
from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM

from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.models.flux2.adapter import put_on
from flenwheel_core.recipes.train import LoraRecipe

TEXT_WIDTH = 8
CONFIG: dict[str, Any] = {
    "patch_size": 1,
    "in_channels": 16,
    "num_layers": 2,
    "num_single_layers": 3,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 3 * TEXT_WIDTH,
    "timestep_guidance_channels": 16,
    "axes_dims_rope": (4, 4, 4, 4),
    "guidance_embeds": False,
}
SCHEDULE: dict[str, Any] = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "shift": 3.0}
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""The shape of Qwen3's own template: what matters here is that thinking is switched off."""


def tiny_transformer(seed: int = 0) -> Flux2Transformer2DModel:
    torch.manual_seed(seed)
    return Flux2Transformer2DModel.from_config(CONFIG).requires_grad_(False).eval()


def tiny_inputs(batch: int = 2, rows: int = 3, columns: int = 4) -> dict[str, torch.Tensor]:
    """A picture of rows x columns tokens with one reference of 2 x 3 behind it."""
    generator = torch.Generator().manual_seed(1)
    places = [(0, y, x, 0) for y in range(rows) for x in range(columns)]
    places += [(10, y, x, 0) for y in range(2) for x in range(3)]
    return {
        "hidden_states": torch.randn(batch, len(places), 16, generator=generator),
        "encoder_hidden_states": torch.randn(batch, 5, 3 * TEXT_WIDTH, generator=generator),
        "timestep": torch.linspace(0.2, 0.8, batch),
        "img_ids": torch.tensor(places),
        "txt_ids": torch.tensor([(0, 0, 0, place) for place in range(5)]),
    }


def trained(recipe: LoraRecipe) -> AdaptedTransformer:
    """diffusers' own modules with an adapter that changes what they compute."""
    adapted = put_on(tiny_transformer(), recipe, seed=3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in adapted.parameters.items():
            if "lora_B" in name:
                parameter.normal_(generator=generator, std=0.1)
            if "magnitude" in name:
                parameter.mul_(1 + 0.2 * torch.rand(parameter.shape, generator=generator))
    return adapted


def tiny_vae() -> AutoencoderKLFlux2:
    """8 pixels a latent as the real one; its batch norm has statistics that matter."""
    torch.manual_seed(1)
    vae = AutoencoderKLFlux2(
        block_out_channels=(4, 4, 4, 4), layers_per_block=1, latent_channels=4, norm_num_groups=2, sample_size=32
    )
    vae.bn.running_mean.normal_(0, 0.5)
    vae.bn.running_var.uniform_(0.5, 2.0)
    return vae.requires_grad_(False).eval()


def tiny_tokenizer() -> Qwen2TokenizerFast:
    """Every byte is a token."""
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate([*alphabet, *special])}
    tokenizer = Qwen2TokenizerFast(vocab=vocabulary, merges=[], pad_token=special[0], eos_token=special[0])
    tokenizer.add_special_tokens({"additional_special_tokens": list(special[1:])})
    tokenizer.chat_template = _TEMPLATE
    return tokenizer


def tiny_encoder(vocabulary: int) -> Qwen3ForCausalLM:
    """As many layers as klein reads from, and one more: what it reads is never the last, which is normed."""
    torch.manual_seed(2)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=TEXT_WIDTH,
        intermediate_size=8,
        num_hidden_layers=28,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    encoder: Qwen3ForCausalLM = Qwen3ForCausalLM(config)
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3)
    return encoder.requires_grad_(False).eval()


def tiny_pipeline(*, is_distilled: bool = False) -> Flux2KleinPipeline:
    """The whole model."""
    tokenizer = tiny_tokenizer()
    pipeline = Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULE),
        vae=tiny_vae(),
        text_encoder=tiny_encoder(len(tokenizer)),
        tokenizer=tokenizer,
        transformer=tiny_transformer(),
        is_distilled=is_distilled,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_tiny(folder: Path, *, is_distilled: bool = False) -> Path:
    """A model folder as diffusers writes it."""
    tiny_pipeline(is_distilled=is_distilled).save_pretrained(folder)
    return folder
