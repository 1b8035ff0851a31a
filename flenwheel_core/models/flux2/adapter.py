"""A LoRA on FLUX.2: on the fast transformer where it covers the recipe, else on diffusers' own modules."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from flenwheel_core.adapters.lora_reading import WornLora
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer, adapt_by_peft, adapter_scales, linear_names
from flenwheel_core.adapters.stacked import fill_stacked, summed_ranks
from flenwheel_core.adapters.targets import lora_ranks
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.flux2.fast import FAST_NAMES, FastFlux2
from flenwheel_core.models.flux2.loading import Flux2Model
from flenwheel_core.models.flux2.lora_host import linear_shapes_of
from flenwheel_core.models.flux2.names import TARGETS
from flenwheel_core.recipes.train import LoraRecipe
from flenwheel_core.transformer.adapted import covers, kept_on_disk, require_covered, start_matrices, with_lora
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan
from flenwheel_core.transformer.shell import transformer_config
from flenwheel_core.transformer.sources import FolderSource

if TYPE_CHECKING:
    from diffusers import Flux2Transformer2DModel


def put_on(transformer: "Flux2Transformer2DModel", recipe: LoraRecipe, *, seed: int) -> AdaptedTransformer:
    """diffusers' own modules with a new adapter."""
    return adapt_by_peft(transformer, lora_ranks(linear_names(transformer), recipe, TARGETS), recipe, seed=seed)


def can_be_fast(ranks: Mapping[str, int], recipe: LoraRecipe) -> bool:
    """True if FastFlux2 covers this adapter."""
    return covers(FAST_NAMES, ranks, recipe)


def start_fast(
    model: Flux2Model, plan: FastPlan, recipe: LoraRecipe, *, seed: int, cache: TensorCache
) -> AdaptedTransformer:
    """The fast transformer with a new adapter, started as PEFT's is."""
    ranks = lora_ranks(linear_shapes_of(transformer_config(model.folder)), recipe, TARGETS)
    return start_matrices(_fast(model, plan, ranks, adapter_scales(ranks, recipe), cache, torch.float32), seed=seed)


def load_with_loras(
    model: Flux2Model, plan: FastPlan, loras: Sequence[WornLora], *, cache: TensorCache
) -> AdaptedTransformer:
    """The fast transformer with all LoRAs at their weights; several on one linear become one of the summed rank.

    Raises InputError for LoRAs that it cannot have.
    """
    require_covered(FAST_NAMES, loras)
    ranks = summed_ranks(loras)
    adapted = _fast(model, plan, ranks, dict.fromkeys(ranks, 1.0), cache, model.dtype)
    fill_stacked(adapted.parameters, loras)
    return adapted


def _fast(
    model: Flux2Model,
    plan: FastPlan,
    ranks: Mapping[str, int],
    scales: Mapping[str, float],
    cache: TensorCache,
    dtype: torch.dtype,
) -> AdaptedTransformer:
    source = FolderSource(model.folder / "transformer", model.device, model.dtype)
    keep = None
    if plan.storage != "dense":
        keep = kept_on_disk(cache, revision=model.revision("transformer"), device=model.device, dtype=model.dtype)
    fast = FastFlux2(transformer_config(model.folder), source, plan, AdapterPlan(ranks, scales, dtype), keep)
    return with_lora(fast, ranks, scales)
