"""Loading trained LoRAs into the fast transformer, for cards that cannot hold the bf16 one."""

import re
from collections.abc import Mapping, Sequence

import torch

from flenwheel_core.errors import InputError
from flenwheel_core.families.flux.adapter import AdaptedFlux
from flenwheel_core.families.flux.fast import FastPlan
from flenwheel_core.families.flux.fast_adapter import adapt_fast, can_be_fast
from flenwheel_core.families.flux.loading import FluxModel
from flenwheel_core.families.flux.lora_file import PREFIX
from flenwheel_core.families.protocols import LoraFile
from flenwheel_core.recipes.train import LoraRecipe
from flenwheel_core.training.cache import TensorCache

Matrices = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""A and B by module name; the scale is in B."""


def load_with_loras(model: FluxModel, plan: FastPlan, loras: Sequence[LoraFile], *, cache: TensorCache) -> AdaptedFlux:
    """The fast transformer with all LoRAs at their weights; several on one linear become one of the summed rank.

    Raises InputError for files that are no LoRA of a FLUX model, or sit where the fast transformer has no adapters.
    """
    files = [(_matrices(lora), lora.weight) for lora in loras]
    ranks = summed_ranks(files)
    if not can_be_fast(ranks, LoraRecipe()):
        raise InputError(
            "These LoRAs change modules that quantised weights cannot be combined with.",
            why="They sit on modulation or embedders.",
            remedy="Generate on a card of 30 GiB or more, or retrain on attention and mlp.",
        )
    adapted = adapt_fast(model, plan, ranks, dict.fromkeys(ranks, 1.0), cache=cache)
    fill_stacked(adapted.parameters, files)
    return adapted


def summed_ranks(files: Sequence[tuple[Matrices, float]]) -> dict[str, int]:
    """The rank that holds all LoRAs on each module."""
    ranks: dict[str, int] = {}
    for matrices, _ in files:
        for name, (a, _) in matrices.items():
            ranks[name] = ranks.get(name, 0) + a.shape[0]
    return ranks


def fill_stacked(parameters: Mapping[str, torch.nn.Parameter], files: Sequence[tuple[Matrices, float]]) -> None:
    """Writes several LoRAs, each with its weight, one below the other into adapters of their summed rank, and freezes them."""
    row: dict[str, int] = {}
    with torch.no_grad():
        for matrices, weight in files:
            for name, (a, b) in matrices.items():
                start = row.get(name, 0)
                row[name] = end = start + a.shape[0]
                parameters[f"{name}.lora_A.default.weight"][start:end] = a
                parameters[f"{name}.lora_B.default.weight"][:, start:end] = b * weight
    for parameter in parameters.values():
        parameter.requires_grad_(False)


def _matrices(lora: LoraFile) -> Matrices:
    """A LoRA file in any layout that diffusers knows."""
    from diffusers import FluxPipeline

    try:
        state, alphas, metadata = FluxPipeline.lora_state_dict(
            str(lora.path), return_alphas=True, return_lora_metadata=True
        )
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        raise InputError(
            f"{lora.path.name} cannot be read as a LoRA.", why=str(error).splitlines()[0], remedy="Check the file."
        ) from error
    found: Matrices = {}
    for name, a in state.items():
        if name.startswith(PREFIX) and name.endswith(".lora_A.weight"):
            module = name.removeprefix(PREFIX).removesuffix(".lora_A.weight")
            b = state[name.replace("lora_A", "lora_B")].float()
            found[module] = (a.float(), b * _scale(module, a.shape[0], alphas or {}, metadata or {}))
    if not found:
        raise InputError(f"{lora.path.name} holds no LoRA for a FLUX transformer.")
    return found


def _scale(module: str, rank: int, alphas: Mapping[str, float], metadata: Mapping[str, object]) -> float:
    """alpha / rank, from the file's alphas or from its PEFT configuration; 1 where it says nothing."""
    alpha = alphas.get(f"{PREFIX}{module}.alpha")
    if alpha is not None:
        return float(alpha) / rank
    if f"{PREFIX}lora_alpha" not in metadata:
        return 1.0
    chosen = float(str(metadata[f"{PREFIX}lora_alpha"]))
    patterns = metadata.get(f"{PREFIX}alpha_pattern") or {}
    assert isinstance(patterns, dict)
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            chosen = float(value)
    return chosen / (rank**0.5 if metadata.get(f"{PREFIX}use_rslora") else rank)
