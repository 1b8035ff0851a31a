"""Putting LoRAs that were read on diffusers' own transformer: by PEFT, or into its weights."""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flenwheel_core.adapters.lora_reading import WornLora

if TYPE_CHECKING:
    import torch

_PREFIX = "transformer"


def wear(transformer: Any, loras: Sequence[WornLora]) -> None:
    """Puts them on, each with its weight."""
    names = [f"lora{index}" for index in range(len(loras))]
    for name, lora in zip(names, loras, strict=True):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # a stack of LoRAs is what is wanted
            transformer.load_lora_adapter(_tensors(lora), prefix=_PREFIX, adapter_name=name, metadata=_described(lora))
    if names:
        transformer.set_adapters(names, [lora.weight for lora in loras])


def take_off(transformer: Any) -> None:
    """Takes off what `wear` put on: its modules are the ones they were before."""
    if getattr(transformer, "peft_config", None):
        transformer.unload_lora()


def wear_for_good(transformer: Any, loras: Sequence[WornLora]) -> None:
    """As `wear`, for drawing: where the weights are float32, LoRAs go into them, and no step pays for adapters any more.

    Nothing is lost by it but roundings of the last bits. Weights of fewer bits would round the LoRA away, and a DoRA needs the weights as
    they were: those are worn.
    """
    import torch

    if transformer.dtype != torch.float32 or any(lora.is_dora for lora in loras):
        wear(transformer, loras)
        return
    with torch.no_grad():
        for lora in loras:
            for name, change in lora.modules.items():
                weight = transformer.get_submodule(name).weight
                weight.add_((change.b @ change.a).to(weight.device), alpha=lora.weight)


def _tensors(lora: WornLora) -> "dict[str, torch.Tensor]":
    found = {}
    for name, change in lora.modules.items():
        found[f"{_PREFIX}.{name}.lora_A.weight"] = change.a
        found[f"{_PREFIX}.{name}.lora_B.weight"] = change.b
        if change.magnitude is not None:
            found[f"{_PREFIX}.{name}.lora_magnitude_vector"] = change.magnitude
    return found


def _described(lora: WornLora) -> dict[str, object]:
    """PEFT's configuration: the scale is in B, so every alpha is the rank."""
    ranks = {name: change.a.shape[0] for name, change in lora.modules.items()}
    rank = Counter(ranks.values()).most_common(1)[0][0]
    other = {f"^{re.escape(name)}$": value for name, value in ranks.items() if value != rank}
    described = {
        "r": rank,
        "lora_alpha": rank,
        # As one pattern: a name in a list would also take every longer one that ends with it.
        "target_modules": "|".join(re.escape(name) for name in sorted(ranks)),
        "rank_pattern": other,
        "alpha_pattern": other,
        "use_dora": lora.is_dora,
    }
    return {f"{_PREFIX}.{key}": value for key, value in described.items()}
