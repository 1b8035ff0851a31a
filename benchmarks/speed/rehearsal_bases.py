"""Z-Image and Qwen-Image at full size with random weights, laid out as on the Hub: bases of the dress rehearsal that edit nothing."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.speed.rehearsal_folders import write_random
from benchmarks.speed.rehearsal_klein import QWEN3_4B, Qwen3Sizes, write_tokenizer

if TYPE_CHECKING:
    from diffusers import ZImageTransformer2DModel


@dataclass(frozen=True)
class ZImageSizes:
    """As published: 6 B weights."""

    width: int = 3840
    layers: int = 30
    refiners: int = 2
    heads: int = 30
    axes: tuple[int, int, int] = (32, 48, 48)
    text: Qwen3Sizes = QWEN3_4B
    vae_widths: tuple[int, ...] = (128, 256, 512, 512)

    def transformer(self) -> "ZImageTransformer2DModel":
        """Made on the device that is chosen by the caller's context."""
        from diffusers import ZImageTransformer2DModel

        return ZImageTransformer2DModel(
            dim=self.width,
            n_layers=self.layers,
            n_refiner_layers=self.refiners,
            n_heads=self.heads,
            n_kv_heads=self.heads,
            cap_feat_dim=self.text.width,
            axes_dims=list(self.axes),
        )


Z_IMAGE = ZImageSizes()


def z_image_folder(root: Path, sizes: ZImageSizes = Z_IMAGE) -> Path:
    """Transformer, Qwen3 as the text encoder, FLUX.1's autoencoder."""
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
    from transformers import Qwen3Model

    if (root / "done").exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    write_tokenizer(root / "tokenizer")
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(root / "scheduler")
    with torch.device("meta"):
        transformer = sizes.transformer()
        encoder = Qwen3Model(sizes.text.config(tied=True))
    transformer.save_config(root / "transformer")
    write_random(root / "transformer", transformer, "diffusion_pytorch_model")
    encoder.config.save_pretrained(root / "text_encoder")
    write_random(root / "text_encoder", encoder, "model")
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=sizes.vae_widths,
        layers_per_block=2,
        latent_channels=16,
        norm_num_groups=min(32, sizes.vae_widths[0]),
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    vae.to(torch.bfloat16).save_pretrained(root / "vae")
    index = {
        "_class_name": "ZImagePipeline",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen3Model"],
        "tokenizer": ["transformers", "Qwen2TokenizerFast"],
        "transformer": ["diffusers", "ZImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (root / "model_index.json").write_text(json.dumps(index, indent=2))
    (root / "done").touch()
    return root


def qwen_image_folder(root: Path, editor: Path) -> Path:
    """Qwen-Image: the parts of `editor`, a Qwen-Image-Edit folder on the same disk, but for its processor, under another class."""
    if not (root / "done").exists():
        shutil.rmtree(root, ignore_errors=True)
        left_out = shutil.ignore_patterns("model_index.json", "done", "processor")
        shutil.copytree(editor, root, copy_function=os.link, ignore=left_out)
        index = json.loads((editor / "model_index.json").read_text())
        index.pop("processor", None)
        (root / "model_index.json").write_text(json.dumps(index | {"_class_name": "QwenImagePipeline"}, indent=2))
        (root / "done").touch()
    return root
