"""The LoRA on a FLUX transformer: put on by PEFT, started from derived numbers, switched off and on."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from flenwheel_core.families.flux.targets import lora_ranks
from flenwheel_core.recipes.train import LoraRecipe
from flenwheel_core.training.randomness import normal

if TYPE_CHECKING:
    from diffusers import FluxTransformer2DModel
    from peft import LoraConfig

ADAPTER = "default"


def linear_names(transformer: "FluxTransformer2DModel") -> list[str]:
    """Names of all linears."""
    return [name for name, module in transformer.named_modules() if isinstance(module, torch.nn.Linear)]


def adapter_config(names: list[str], recipe: LoraRecipe) -> "LoraConfig":
    """The PEFT configuration of a recipe for a model with these linears."""
    from peft import LoraConfig

    ranks = lora_ranks(names, recipe)
    alpha = recipe.alpha if recipe.alpha is not None else float(recipe.rank)
    other = {name: rank for name, rank in ranks.items() if rank != recipe.rank}
    # The scale stays alpha/rank of the recipe where a block has a rank of its own.
    alphas = {} if recipe.rslora else {name: alpha * rank / recipe.rank for name, rank in other.items()}
    return LoraConfig(
        r=recipe.rank,
        lora_alpha=alpha,
        lora_dropout=recipe.dropout,
        use_rslora=recipe.rslora,
        use_dora=recipe.dora,
        target_modules=sorted(ranks),
        rank_pattern={f"^{_escape(name)}": rank for name, rank in other.items()},
        alpha_pattern={f"^{_escape(name)}": value for name, value in alphas.items()},
    )


def add_adapter(transformer: "FluxTransformer2DModel", recipe: LoraRecipe, *, seed: int) -> "LoraConfig":
    """Put the adapter on: float32 weights, B zero, A uniform as in PEFT but derived from (seed, module name)."""
    config = adapter_config(linear_names(transformer), recipe)
    transformer.add_adapter(config, adapter_name=ADAPTER)
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
            if "lora_A" in name:
                # Uniform within 1/sqrt(inputs), which is kaiming_uniform with a = sqrt(5).
                start = torch.erf(normal(tuple(parameter.shape), seed, "lora", name) / math.sqrt(2.0))
                parameter.copy_(start / math.sqrt(parameter.shape[1]))
    return config


def _escape(name: str) -> str:
    return name.replace(".", r"\.")


@contextmanager
def without_adapter(transformer: "FluxTransformer2DModel") -> Iterator[None]:
    """The transformer as the base model within this block."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in transformer.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False
