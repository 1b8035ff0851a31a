"""A LoRA on diffusers' own modules: put on by PEFT, started from derived numbers, switched off and on."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from flenwheel_core.engine.randomness import normal
from flenwheel_core.recipes.train import LoraRecipe

if TYPE_CHECKING:
    from diffusers import ModelMixin
    from peft import LoraConfig


ADAPTER = "default"


def linear_names(transformer: torch.nn.Module) -> list[str]:
    """Names of all linears."""
    return [name for name, module in transformer.named_modules() if isinstance(module, torch.nn.Linear)]


def adapter_scales(ranks: Mapping[str, int], recipe: LoraRecipe) -> dict[str, float]:
    """The factor on B A of each linear: alpha/rank of the recipe, also where a block has a rank of its own (rsLoRA:
    alpha/sqrt(rank))."""
    alpha = recipe.alpha if recipe.alpha is not None else float(recipe.rank)
    if recipe.rslora:
        return {name: alpha / math.sqrt(rank) for name, rank in ranks.items()}
    return dict.fromkeys(ranks, alpha / recipe.rank)


def adapter_config(ranks: Mapping[str, int], recipe: LoraRecipe) -> "LoraConfig":
    """The PEFT configuration of a recipe for the linears in `ranks`."""
    from peft import LoraConfig

    alpha = recipe.alpha if recipe.alpha is not None else float(recipe.rank)
    other = {f"^{_escape(name)}": rank for name, rank in ranks.items() if rank != recipe.rank}
    return LoraConfig(
        r=recipe.rank,
        lora_alpha=alpha,
        lora_dropout=recipe.dropout,
        use_rslora=recipe.rslora,
        use_dora=recipe.dora,
        # One pattern: a name in a list would also take every longer one that ends with it (proj_out).
        target_modules="|".join(_escape(name) for name in sorted(ranks)),
        rank_pattern=other,
        alpha_pattern={} if recipe.rslora else {name: alpha * rank / recipe.rank for name, rank in other.items()},
    )


@torch.no_grad()
def start_a(name: str, parameter: torch.nn.Parameter, *, seed: int) -> None:
    """A (rank, inputs) uniform within 1/sqrt(inputs), which is kaiming_uniform with a = sqrt(5), from (seed, name)."""
    start = torch.erf(normal(tuple(parameter.shape), seed, "lora", name) / math.sqrt(2.0))
    parameter.copy_(start / math.sqrt(parameter.shape[1]))


def _escape(name: str) -> str:
    return name.replace(".", r"\.")


@dataclass(frozen=True)
class AdaptedTransformer:
    """A transformer with a LoRA on it, whichever way it was built."""

    transformer: torch.nn.Module
    """Behaves like diffusers' own transformer of the family."""
    parameters: Mapping[str, torch.nn.Parameter]
    """The trained matrices, float32, under PEFT's names."""
    ranks: Mapping[str, int]
    scales: Mapping[str, float]
    without_adapter: Callable[[], AbstractContextManager[None]]
    """The base model within this context."""


def adapt_by_peft(
    transformer: "ModelMixin", ranks: Mapping[str, int], recipe: LoraRecipe, *, seed: int
) -> AdaptedTransformer:
    """diffusers' own modules with PEFT's adapters on the linears in `ranks`: everything a recipe can ask for.

    Adapters are float32, B is zero, and A is as in PEFT but derived from (seed, module name).
    """
    transformer.add_adapter(adapter_config(ranks, recipe), adapter_name=ADAPTER)
    parameters = {name: p for name, p in transformer.named_parameters() if p.requires_grad}
    for name, parameter in parameters.items():
        parameter.data = parameter.data.float()
        if "lora_A" in name:
            start_a(name, parameter, seed=seed)
    return AdaptedTransformer(
        transformer, parameters, ranks, adapter_scales(ranks, recipe), partial(without_peft, transformer)
    )


@contextmanager
def without_peft(transformer: torch.nn.Module) -> Iterator[None]:
    """The base model within this context, whatever PEFT has put on it."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in transformer.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False
