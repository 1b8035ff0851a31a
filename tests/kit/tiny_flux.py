"""A FLUX transformer of the real class with few, random weights."""

from typing import Any

import torch
from diffusers import FluxTransformer2DModel

from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.models.flux1.adapter import put_on
from flenwheel_core.models.flux1.packing import image_ids
from flenwheel_core.recipes.train import LoraRecipe

CONFIG: dict[str, Any] = {
    "patch_size": 1,
    "in_channels": 16,
    "out_channels": None,
    "num_layers": 2,
    "num_single_layers": 3,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 24,
    "pooled_projection_dim": 20,
    "guidance_embeds": True,
    "axes_dims_rope": (4, 6, 6),
}


def tiny_transformer(seed: int = 0) -> FluxTransformer2DModel:
    torch.manual_seed(seed)
    return FluxTransformer2DModel.from_config(CONFIG).requires_grad_(False).eval()


def tiny_inputs(batch: int = 2, rows: int = 3, columns: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "hidden_states": torch.randn(batch, rows * columns, 16, generator=generator),
        "encoder_hidden_states": torch.randn(batch, 5, 24, generator=generator),
        "pooled_projections": torch.randn(batch, 20, generator=generator),
        "timestep": torch.linspace(0.2, 0.8, batch),
        "guidance": torch.ones(batch),
        "img_ids": image_ids(rows, columns),
        "txt_ids": torch.zeros(5, 3),
    }


def trained(recipe: LoraRecipe) -> AdaptedTransformer:
    adapted = put_on(tiny_transformer(), recipe, seed=3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in adapted.parameters.items():
            if "lora_B" in name:
                parameter.normal_(generator=generator, std=0.1)
            if "magnitude" in name:
                parameter.mul_(1 + 0.2 * torch.rand(parameter.shape, generator=generator))
    return adapted
