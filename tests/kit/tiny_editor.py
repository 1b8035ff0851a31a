"""Tiny Qwen-Image-Edit models with random weights: every class is the real one."""

from pathlib import Path

import torch
from diffusers import QwenImageEditPipeline, QwenImageEditPlusPipeline, QwenImagePipeline
from PIL import Image

from flenwheel_core.models.qwen_image.conditioning import Revision
from flenwheel_core.nano.models.editor import build_scheduler, build_transformer, build_vae
from flenwheel_core.nano.models.vlm import build_processor, build_tokenizer, build_vlm

WORDS = ["same person, forest background, smiling, half-left view", "make the light warm", "sunset lighting"]


def tiny_pipeline(revision: Revision) -> QwenImageEditPipeline | QwenImageEditPlusPipeline:
    """Random weights, also where a fresh model begins with zeros; the encoder takes pictures of any size."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer(WORDS * 30)
    processor = build_processor(tokenizer)
    processor.image_processor.size = {"shortest_edge": 32 * 32, "longest_edge": 2048 * 2048}
    encoder = build_vlm(tokenizer).eval()
    transformer = build_transformer(encoder.config.text_config.hidden_size).eval()
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.normal_(0, 0.08)
    vae = build_vae().eval()
    vae.register_to_config(latents_mean=[0.1 * n for n in range(16)], latents_std=[1 + 0.1 * n for n in range(16)])
    parts = {"vae": vae, "text_encoder": encoder, "tokenizer": tokenizer, "processor": processor}
    kind = QwenImageEditPlusPipeline if revision is Revision.PLUS else QwenImageEditPipeline
    pipeline = kind(scheduler=build_scheduler(), transformer=transformer, **parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_tiny_base(folder: Path) -> Path:
    """The folder of a base model with the same transformer, autoencoder and encoder: it reads text alone."""
    editor = tiny_pipeline(Revision.FIRST)
    names = ("scheduler", "vae", "text_encoder", "tokenizer", "transformer")
    QwenImagePipeline(**{name: getattr(editor, name) for name in names}).save_pretrained(folder)
    return folder


def save_tiny(folder: Path, revision: Revision = Revision.FIRST) -> Path:
    """A model folder as diffusers writes it."""
    tiny_pipeline(revision).save_pretrained(folder)
    return folder


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture that differs from place to place."""
    generator = torch.Generator().manual_seed(seed)
    small = (torch.rand((4, 6, 3), generator=generator) * 255).byte().numpy()
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
