"""What a FLUX.2 transformer can wear: its linears, and what BFL's layout and the trainers that follow it call them."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from flenwheel_core.adapters.lora_reading import LoraHost
from flenwheel_core.adapters.targets import ModelLinears
from flenwheel_core.models.flux2.names import BLOCKS, FAMILY_NAME, OUTER, TARGETS
from flenwheel_core.transformer.shell import linear_shapes


def linear_shapes_of(config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of all linears of a FLUX.2 transformer with this configuration, by name."""
    from diffusers import Flux2Transformer2DModel

    return linear_shapes(Flux2Transformer2DModel, config)


def flux2_host(folder: Path) -> LoraHost:
    """The transformer of a FLUX.2 folder, by its configuration; nothing is loaded."""
    return _host((folder / "transformer" / "config.json").read_text())


@cache
def _host(config: str) -> LoraHost:
    linears = linear_shapes_of(json.loads(config))
    fused = {name.replace(".", "_"): parts for name, parts in _named(linears) if all(part in linears for part in parts)}
    return LoraHost(FAMILY_NAME, linears, fused)


def _named(linears: Mapping[str, tuple[int, int]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield from ((name, (module,)) for name, module in OUTER.items())
    for stem, theirs, table in BLOCKS:
        for index in sorted({int(name.split(".")[1]) for name in linears if name.startswith(f"{stem}.")}):
            for name, parts in table.items():
                yield f"{theirs}.{index}.{name}", tuple(f"{stem}.{index}.{part}" for part in parts)


def model_linears(folder: Path) -> ModelLinears:
    """What a LoRA may sit on in the transformer of a FLUX.2 folder; nothing is loaded."""
    return ModelLinears(flux2_host(folder).linears, TARGETS)
