"""A fast transformer with a LoRA on it, new or trained."""

from collections.abc import Mapping, Sequence

import torch

from flenwheel_core.adapters.lora_reading import WornLora
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer, start_a
from flenwheel_core.adapters.stacked import summed_ranks
from flenwheel_core.base.errors import InputError
from flenwheel_core.recipes.train import LoraRecipe
from flenwheel_core.transformer.fast import FastTransformer
from flenwheel_core.transformer.plan import AdapterPlan


def with_lora(fast: FastTransformer, ranks: Mapping[str, int], scales: Mapping[str, float]) -> AdaptedTransformer:
    """The fast transformer as a trainer or a generator takes it; its matrices are as they were built: zero."""
    return AdaptedTransformer(fast, fast.lora, ranks, scales, fast.without_adapter)


def stacked_plan(loras: Sequence[WornLora], dtype: torch.dtype) -> AdapterPlan:
    """Adapters that hold trained LoRAs one below the other, each with its weight inside."""
    ranks = summed_ranks(loras)
    return AdapterPlan(ranks, dict.fromkeys(ranks, 1.0), dtype)


def start_matrices(adapted: AdaptedTransformer, *, seed: int) -> AdaptedTransformer:
    """A new adapter, started as PEFT's is, from (seed, module name)."""
    for name, parameter in adapted.parameters.items():
        if "lora_A" in name:
            start_a(name, parameter, seed=seed)
    return adapted


def covers(names: tuple[str, ...], ranks: Mapping[str, int], recipe: LoraRecipe) -> bool:
    """True if a fast transformer, whose blocks' linears end in `names`, can have this adapter."""
    return all(name.endswith(names) for name in ranks) and not recipe.dora and recipe.dropout == 0


def is_covered(names: tuple[str, ...], lora: WornLora) -> bool:
    """True if a fast transformer, whose blocks' linears end in `names`, can wear this LoRA."""
    return not lora.is_dora and covers(names, summed_ranks([lora]), LoraRecipe())


def require_covered(names: tuple[str, ...], loras: Sequence[WornLora]) -> None:
    """Raises InputError for LoRAs that quantised weights cannot be combined with: found by names, before anything loads."""
    for lora in loras:
        if lora.is_dora:
            what, why = (
                "is a DoRA, which quantised weights cannot be combined with",
                "It needs the norms of the full weights.",
            )
        elif not is_covered(names, lora):
            what, why = (
                "changes modules that quantised weights cannot be combined with",
                "They are modulation or embedders.",
            )
        else:
            continue
        raise InputError(
            f"{lora.name} {what}.",
            why=why,
            remedy="Generate on a card of 30 GiB or more, or retrain a LoRA on attention and mlp.",
        )
