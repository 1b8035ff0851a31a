"""A fast transformer with a LoRA on it, new or trained."""

from collections.abc import Callable, Mapping

import torch

from flenwheel_core.adapters.peft_adapter import AdaptedTransformer, start_a
from flenwheel_core.base.ids import Json
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.kernels.frozen_weights import FrozenWeight, Storage, tensors_of, weight_of
from flenwheel_core.transformer.fast import FastTransformer, FrozenStore


def with_lora(fast: FastTransformer, ranks: Mapping[str, int], scales: Mapping[str, float]) -> AdaptedTransformer:
    """The fast transformer as a trainer or a generator takes it; its matrices are as they were built: zero."""
    return AdaptedTransformer(fast, fast.lora, ranks, scales, fast.without_adapter)


def start_matrices(adapted: AdaptedTransformer, *, seed: int) -> AdaptedTransformer:
    """A new adapter, started as PEFT's is, from (seed, module name)."""
    for name, parameter in adapted.parameters.items():
        if "lora_A" in name:
            start_a(name, parameter, seed=seed)
    return adapted


def kept_on_disk(cache: TensorCache, *, revision: str, device: torch.device, dtype: torch.dtype) -> FrozenStore:
    """Quantised weights of a transformer (`revision` is its digest), made once and read by every later run."""

    def keep(name: str, storage: Storage, make: Callable[[], FrozenWeight]) -> FrozenWeight:
        if storage == "dense":
            return make()
        key: Json = {
            "kind": "frozen weight",
            "model": revision,
            "name": name,
            "storage": storage,
            "dtype": str(dtype),
        }
        found = cache.get(key)
        if found is None:
            weight = make()
            cache.put(key, tensors_of(weight))
            return weight
        return weight_of({part: tensor.to(device) for part, tensor in found.items()})

    return keep
