"""The fast transformer of a model folder with a recipe's LoRA; quantised weights are kept on disk for the next run."""

import json
from collections.abc import Callable, Mapping

import torch

from flenwheel_core.families.flux.adapter import AdaptedFlux, adapter_scales, start_a
from flenwheel_core.families.flux.fast import AdapterPlan, FastFlux, FastPlan, FrozenStore, fast_flux_names
from flenwheel_core.families.flux.loading import FluxModel
from flenwheel_core.families.flux.sources import FolderSource
from flenwheel_core.families.flux.targets import lora_ranks
from flenwheel_core.ids import Json
from flenwheel_core.recipes.train import LoraRecipe
from flenwheel_core.training.cache import TensorCache
from flenwheel_core.training.storage import FrozenWeight, Storage, tensors_of, weight_of


def transformer_config(model: FluxModel) -> dict[str, object]:
    """The transformer's config.json."""
    return dict(json.loads((model.folder / "transformer" / "config.json").read_text()))


def linear_names_of(config: Mapping[str, object]) -> list[str]:
    """Names of all linears of a transformer with this configuration."""
    return list(linear_shapes_of(config))


def linear_shapes_of(config: Mapping[str, object]) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of all linears of a transformer with this configuration, by name, without loading it."""
    from diffusers import FluxTransformer2DModel

    with torch.device("meta"):
        model = FluxTransformer2DModel.from_config(dict(config))
    return {
        name: (module.out_features, module.in_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def can_be_fast(ranks: Mapping[str, int], recipe: LoraRecipe) -> bool:
    """True if FastFlux covers this adapter."""
    endings = tuple(f".{name}" for name in fast_flux_names())
    covered = all("transformer_blocks." in name and name.endswith(endings) for name in ranks)
    return covered and not recipe.dora and recipe.dropout == 0


def adapt_fast(
    model: FluxModel,
    plan: FastPlan,
    ranks: Mapping[str, int],
    scales: Mapping[str, float],
    *,
    cache: TensorCache,
    dtype: torch.dtype = torch.float32,
) -> AdaptedFlux:
    """The fast transformer with adapters whose matrices are zero: for loading trained ones into it."""
    source = FolderSource(model.folder / "transformer", model.device, model.dtype)
    keep = _on_disk(model, cache) if plan.storage != "dense" else None
    fast = FastFlux(transformer_config(model), source, plan, AdapterPlan(ranks, scales, dtype), keep)
    return AdaptedFlux(fast, fast.lora, ranks, scales, fast.without_adapter)


def start_fast(model: FluxModel, plan: FastPlan, recipe: LoraRecipe, *, seed: int, cache: TensorCache) -> AdaptedFlux:
    """The fast transformer with a new adapter, started as PEFT's is."""
    ranks = lora_ranks(linear_names_of(transformer_config(model)), recipe)
    adapted = adapt_fast(model, plan, ranks, adapter_scales(ranks, recipe), cache=cache)
    for name, parameter in adapted.parameters.items():
        if "lora_A" in name:
            start_a(name, parameter, seed=seed)
    return adapted


def _on_disk(model: FluxModel, cache: TensorCache) -> FrozenStore:
    revision = model.revision("transformer")

    def keep(name: str, storage: Storage, make: Callable[[], FrozenWeight]) -> FrozenWeight:
        if storage == "dense":
            return make()
        key: Json = {
            "kind": "flux weight",
            "model": revision,
            "name": name,
            "storage": storage,
            "dtype": str(model.dtype),
        }
        found = cache.get(key)
        if found is None:
            weight = make()
            cache.put(key, tensors_of(weight))
            return weight
        return weight_of({part: tensor.to(model.device) for part, tensor in found.items()})

    return keep
