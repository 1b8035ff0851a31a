"""Loading trained LoRAs into the fast transformer, for cards that cannot hold the bf16 one."""

from collections.abc import Mapping, Sequence

import torch

from flenwheel_core.errors import InputError
from flenwheel_core.families.flux.adapter import AdaptedFlux
from flenwheel_core.families.flux.fast import FastPlan
from flenwheel_core.families.flux.fast_adapter import adapt_fast, can_be_fast
from flenwheel_core.families.flux.loading import FluxModel
from flenwheel_core.families.lora_reading import WornLora
from flenwheel_core.recipes.train import LoraRecipe
from flenwheel_core.training.cache import TensorCache


def load_with_loras(model: FluxModel, plan: FastPlan, loras: Sequence[WornLora], *, cache: TensorCache) -> AdaptedFlux:
    """The fast transformer with all LoRAs at their weights; several on one linear become one of the summed rank.

    Raises InputError as `require_fast` does.
    """
    require_fast(loras)
    ranks = summed_ranks(loras)
    adapted = adapt_fast(model, plan, ranks, dict.fromkeys(ranks, 1.0), cache=cache, dtype=model.dtype)
    fill_stacked(adapted.parameters, loras)
    return adapted


def require_fast(loras: Sequence[WornLora]) -> None:
    """Raises InputError for LoRAs that quantised weights cannot be combined with: found by names, before anything loads."""
    for lora in loras:
        if lora.is_dora:
            what, why = (
                "is a DoRA, which quantised weights cannot be combined with",
                "It needs the norms of the full weights.",
            )
        elif not can_be_fast(summed_ranks([lora]), LoraRecipe()):
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


def summed_ranks(loras: Sequence[WornLora]) -> dict[str, int]:
    """The rank that holds all LoRAs on each module."""
    ranks: dict[str, int] = {}
    for lora in loras:
        for name, change in lora.modules.items():
            ranks[name] = ranks.get(name, 0) + change.a.shape[0]
    return ranks


def fill_stacked(parameters: Mapping[str, torch.nn.Parameter], loras: Sequence[WornLora]) -> None:
    """Writes several LoRAs, each with its weight, one below the other into adapters of their summed rank, and freezes them."""
    row: dict[str, int] = {}
    with torch.no_grad():
        for lora in loras:
            for name, change in lora.modules.items():
                start = row.get(name, 0)
                row[name] = end = start + change.a.shape[0]
                parameters[f"{name}.lora_A.default.weight"][start:end] = change.a
                parameters[f"{name}.lora_B.default.weight"][:, start:end] = change.b * lora.weight
    for parameter in parameters.values():
        parameter.requires_grad_(False)
