"""FLUX.2 klein base at full size with random weights, laid out as on the Hub: for the dress rehearsal, as base and editor in one."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.speed.rehearsal_folders import write_random
from flenwheel_core.models.embedded import weights_folder

_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif %}"
)


@dataclass(frozen=True)
class KleinSizes:
    """What differs between 4B and 9B."""

    double: int = 5
    single: int = 20
    heads: int = 24
    text_layers: int = 36
    text_width: int = 2560
    text_mlp: int = 9728
    text_heads: int = 32
    text_kv_heads: int = 8
    text_head: int = 128
    words: int = 151_936
    vae_widths: tuple[int, ...] = (128, 256, 512, 512)
    latents: int = 32
    tied: bool = True


KLEIN_4B = KleinSizes()
KLEIN_9B = KleinSizes(double=8, single=24, heads=32, text_width=4096, text_mlp=12_288, tied=False)


def klein_folder(root: Path, sizes: KleinSizes = KLEIN_4B) -> Path:
    """Transformer, Qwen3 as the text encoder, the autoencoder; the tokenizer is the nano editor's, with a chat template."""
    from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2Transformer2DModel
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    if (root / "done").exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    tokenizer = AutoTokenizer.from_pretrained(weights_folder("editor") / "tokenizer", local_files_only=True)
    tokenizer.chat_template = _TEMPLATE
    tokenizer.save_pretrained(root / "tokenizer")
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15)
    scheduler.save_pretrained(root / "scheduler")
    with torch.device("meta"):
        transformer = Flux2Transformer2DModel(
            in_channels=4 * sizes.latents,
            num_layers=sizes.double,
            num_single_layers=sizes.single,
            num_attention_heads=sizes.heads,
            joint_attention_dim=3 * sizes.text_width,
            guidance_embeds=False,
        )
        encoder = Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=sizes.words,
                hidden_size=sizes.text_width,
                intermediate_size=sizes.text_mlp,
                num_hidden_layers=sizes.text_layers,
                num_attention_heads=sizes.text_heads,
                num_key_value_heads=sizes.text_kv_heads,
                head_dim=sizes.text_head,
                max_position_embeddings=40_960,
                tie_word_embeddings=sizes.tied,
            )
        )
    transformer.save_config(root / "transformer")
    write_random(root / "transformer", transformer, "diffusion_pytorch_model")
    encoder.config.save_pretrained(root / "text_encoder")
    write_random(root / "text_encoder", encoder, "model", leave_out=("lm_head.weight",) if sizes.tied else ())
    vae = AutoencoderKLFlux2(
        block_out_channels=sizes.vae_widths, latent_channels=sizes.latents, norm_num_groups=min(32, sizes.vae_widths[0])
    )
    vae.to(torch.bfloat16).save_pretrained(root / "vae")
    index = {
        "_class_name": "Flux2KleinPipeline",
        "is_distilled": False,
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen3ForCausalLM"],
        "tokenizer": ["transformers", "Qwen2TokenizerFast"],
        "transformer": ["diffusers", "Flux2Transformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLFlux2"],
    }
    (root / "model_index.json").write_text(json.dumps(index, indent=2))
    (root / "done").touch()
    return root
