"""A LoRA on FLUX.1: on the fast transformer where it covers the recipe, else on diffusers' own modules."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from flenwheel_core.adapters.lora_file import UiNames
from flenwheel_core.adapters.lora_reading import WornLora
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer, adapt_by_peft, adapter_scales, linear_names
from flenwheel_core.adapters.stacked import fill_stacked
from flenwheel_core.adapters.targets import TargetNames, lora_ranks
from flenwheel_core.models.flux1.fast import FAST_NAMES, FastFlux
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.shelf import Shelf, take_fast
from flenwheel_core.recipes.train import LoraRecipe
from flenwheel_core.transformer.adapted import covers, require_covered, stacked_plan, start_matrices, with_lora
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan
from flenwheel_core.transformer.shell import linear_shapes, transformer_config
from flenwheel_core.transformer.sources import FolderSource

if TYPE_CHECKING:
    from diffusers import FluxTransformer2DModel

TARGETS = TargetNames(
    groups={
        "attention": ("*transformer_blocks.*.attn.*",),
        "mlp": (
            "transformer_blocks.*.ff.net.*",
            "transformer_blocks.*.ff_context.net.*",
            "single_transformer_blocks.*.proj_mlp",
            "single_transformer_blocks.*.proj_out",
        ),
        "modulation": ("*transformer_blocks.*.norm*.linear",),
        "embedders": ("context_embedder", "time_text_embed.text_embedder.*"),
    },
    blocks={"double": "transformer_blocks", "single": "single_transformer_blocks"},
)
UI_NAMES = UiNames("flux-1-dev/lora", "flux1", "networks.lora_flux")
EDIT_UI_NAMES = UiNames("flux-1-kontext-dev/lora", "flux1", "networks.lora_flux")


def linear_shapes_of(config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of all linears of a FLUX.1 transformer with this configuration, by name."""
    from diffusers import FluxTransformer2DModel

    return linear_shapes(FluxTransformer2DModel, config)


def put_on(transformer: "FluxTransformer2DModel", recipe: LoraRecipe, *, seed: int) -> AdaptedTransformer:
    """diffusers' own modules with a new adapter."""
    return adapt_by_peft(transformer, lora_ranks(linear_names(transformer), recipe, TARGETS), recipe, seed=seed)


def can_be_fast(ranks: Mapping[str, int], recipe: LoraRecipe) -> bool:
    """True if FastFlux covers this adapter."""
    return covers(FAST_NAMES, ranks, recipe)


def adapt_fast(
    model: FluxModel,
    plan: FastPlan,
    ranks: Mapping[str, int],
    scales: Mapping[str, float],
    *,
    dtype: torch.dtype = torch.float32,
) -> AdaptedTransformer:
    """The fast transformer with adapters whose matrices are zero: for loading trained ones into it."""
    return with_lora(_fast(model, plan, AdapterPlan(ranks, scales, dtype)), ranks, scales)


def start_fast(model: FluxModel, plan: FastPlan, recipe: LoraRecipe, *, seed: int) -> AdaptedTransformer:
    """The fast transformer with a new adapter, started as PEFT's is."""
    ranks = lora_ranks(linear_shapes_of(transformer_config(model.folder)), recipe, TARGETS)
    return start_matrices(adapt_fast(model, plan, ranks, adapter_scales(ranks, recipe)), seed=seed)


def load_with_loras(
    model: FluxModel, plan: FastPlan, loras: Sequence[WornLora], shelf: Shelf | None = None
) -> AdaptedTransformer:
    """The fast transformer with all LoRAs at their weights; several on one linear become one of the summed rank.

    Raises InputError as `require_fast` does.
    """
    require_fast(loras)
    worn = stacked_plan(loras, model.dtype)
    fast = take_fast(shelf, model.kept_as(plan), partial(_fast, model, plan), worn)
    fill_stacked(fast.lora, loras)
    return with_lora(fast, worn.ranks, worn.scales)


def _fast(model: FluxModel, plan: FastPlan, adapters: AdapterPlan) -> FastFlux:
    source = FolderSource(model.folder / "transformer", model.device, model.dtype)
    return FastFlux(transformer_config(model.folder), source, plan, adapters)


def require_fast(loras: Sequence[WornLora]) -> None:
    """Raises InputError for LoRAs that quantised weights cannot be combined with: found by names, before anything loads."""
    require_covered(FAST_NAMES, loras)
