"""FLUX.2 klein base at full size with random weights, laid out as on the Hub: for the dress rehearsal, as base and editor in one."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.speed.rehearsal_folders import write_random
from flenwheel_core.models.embedded import weights_folder

if TYPE_CHECKING:
    from diffusers import Flux2Transformer2DModel
    from transformers import Qwen3Config

_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif %}"
)


@dataclass(frozen=True)
class Qwen3Sizes:
    """A text encoder of the Qwen3 family: as published, that of 4 B weights."""

    layers: int = 36
    width: int = 2560
    mlp: int = 9728
    heads: int = 32
    kv_heads: int = 8
    head: int = 128
    words: int = 151_936

    def config(self, *, tied: bool) -> "Qwen3Config":
        """`tied`: words are read and written with the same weights."""
        from transformers import Qwen3Config

        return Qwen3Config(
            vocab_size=self.words,
            hidden_size=self.width,
            intermediate_size=self.mlp,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            head_dim=self.head,
            max_position_embeddings=40_960,
            tie_word_embeddings=tied,
        )


QWEN3_4B = Qwen3Sizes()


@dataclass(frozen=True)
class KleinSizes:
    """What differs between 4B and 9B."""

    double: int = 5
    single: int = 20
    heads: int = 24
    text: Qwen3Sizes = QWEN3_4B
    vae_widths: tuple[int, ...] = (128, 256, 512, 512)
    latents: int = 32
    tied: bool = True

    def transformer(self) -> "Flux2Transformer2DModel":
        """Made on the device that is chosen by the caller's context."""
        from diffusers import Flux2Transformer2DModel

        return Flux2Transformer2DModel(
            in_channels=4 * self.latents,
            num_layers=self.double,
            num_single_layers=self.single,
            num_attention_heads=self.heads,
            joint_attention_dim=3 * self.text.width,
            guidance_embeds=False,
        )


KLEIN_4B = KleinSizes()
KLEIN_9B = KleinSizes(double=8, single=24, heads=32, text=Qwen3Sizes(width=4096, mlp=12_288), tied=False)


def write_tokenizer(folder: Path) -> None:
    """The nano editor's words, with Qwen3's chat template."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(weights_folder("editor") / "tokenizer", local_files_only=True)
    tokenizer.chat_template = _TEMPLATE
    tokenizer.save_pretrained(folder)


def klein_folder(root: Path, sizes: KleinSizes = KLEIN_4B) -> Path:
    """Transformer, Qwen3 as the text encoder, the autoencoder."""
    from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler
    from transformers import Qwen3ForCausalLM

    if (root / "done").exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    write_tokenizer(root / "tokenizer")
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15)
    scheduler.save_pretrained(root / "scheduler")
    with torch.device("meta"):
        transformer = sizes.transformer()
        encoder = Qwen3ForCausalLM(sizes.text.config(tied=sizes.tied))
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
