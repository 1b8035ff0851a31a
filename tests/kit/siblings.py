"""Nano klein and nano Z-Image with random weights, shipped as trained ones are: what the code does with them hangs on no training."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import nn

from flenwheel_core.models.embedded import SHIPPED, weights_folder
from flenwheel_core.nano.models import klein, qwen3, z_image
from tools.nano_training.ship import ship
from tools.nano_training.siblings import SiblingData, SiblingModels
from tools.nano_training.siblings_run import save


def shaken(module: nn.Module) -> nn.Module:
    """Blocks begin as the identity, which would hide what they do."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    return module.eval()


def random_siblings(folder: Path) -> Path:
    """A folder as training leaves it, with `siblings/klein` and `siblings/z_image`."""
    torch.manual_seed(0)
    tokenizer = qwen3.load_tokenizer(weights_folder("editor") / "tokenizer")
    encoder = qwen3.build_encoder(tokenizer)
    models = SiblingModels(encoder, shaken(klein.build_transformer()), shaken(z_image.build_transformer()))
    vae = AutoencoderKL.from_pretrained(weights_folder("flux") / "vae", torch_dtype=torch.float32)
    nothing = torch.zeros(1)
    data = SiblingData(
        latents=nothing,
        mean=torch.linspace(-0.5, 0.5, 64),
        deviation=torch.linspace(0.5, 1.5, 64),
        shift=nothing,
        scale=nothing,
        captions=nothing,
        named_from=0,
        source=nothing,
        target=nothing,
        instructions=nothing,
        empty=nothing,
        pad=int(tokenizer.pad_token_id),
    )
    save(folder / "siblings", models, data, vae, tokenizer)
    return folder


def shipped_with_siblings(folder: Path) -> Path:
    """The shipped weights with random siblings among them."""
    weights = folder / "weights"
    weights.mkdir()
    for path in SHIPPED.iterdir():
        if path.name not in ("klein", "zimage"):
            (weights / path.name).symlink_to(path)
    ship(random_siblings(folder / "trained"), weights)
    return weights
