"""Several trained LoRAs on one transformer as one adapter of their summed rank."""

from collections.abc import Mapping, Sequence

import torch

from flenwheel_core.adapters.lora_reading import WornLora


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
