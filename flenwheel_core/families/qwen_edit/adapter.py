"""The LoRA on a Qwen-Image-Edit transformer: which linears, and the file it becomes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from flenwheel_core.families.flux.adapter import AdaptedFlux, adapt_reference
from flenwheel_core.families.flux.lora_file import lora_bytes
from flenwheel_core.recipes.train import LoraRecipe, LoraTarget

if TYPE_CHECKING:
    from diffusers import QwenImageTransformer2DModel

GROUPS: dict[LoraTarget, tuple[str, ...]] = {
    "attention": ("transformer_blocks.*.attn.*",),
    "mlp": ("transformer_blocks.*.img_mlp.net.*", "transformer_blocks.*.txt_mlp.net.*"),
    "modulation": ("transformer_blocks.*.img_mod.1", "transformer_blocks.*.txt_mod.1"),
    "embedders": ("img_in", "txt_in"),
}
"""Linears of both streams, picture and text."""


def put_on(transformer: "QwenImageTransformer2DModel", recipe: LoraRecipe, *, seed: int) -> AdaptedFlux:
    """The transformer with float32 adapters; quantised linears stay as they are."""
    include = recipe.include or tuple(pattern for target in recipe.targets for pattern in GROUPS[target])
    return adapt_reference(transformer, recipe.model_copy(update={"include": include}), seed=seed)


def lora_file(
    weights: Mapping[str, torch.Tensor],
    adapted: AdaptedFlux,
    *,
    name: str,
    base: str,
    rank: int,
    steps: int,
    triplets: int,
    run: str,
) -> bytes:
    """The safetensors file, in diffusers/PEFT names, with the facts that UIs show. Nothing in it is dated."""
    facts = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "qwen-image-edit/lora",
        "modelspec.implementation": "https://github.com/huggingface/diffusers",
        "modelspec.title": name,
        "modelspec.prediction_type": "flow_matching",
        "ss_base_model_version": "qwen_image_edit",
        "ss_sd_model_name": base,
        "ss_network_module": "networks.lora_qwen_image",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(rank),
        "ss_output_name": name,
        "ss_steps": str(steps),
        "ss_num_train_images": str(triplets),
        "flenwheel.request": run,
        "flenwheel.base": base,
    }
    return lora_bytes(weights, adapted, facts)
