"""A diffusers transformer without its blocks: what is outside of them runs as it is, and what is inside is known by name and shape."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from flenwheel_core.transformer.sources import WeightSource


def transformer_config(folder: Path) -> dict[str, Any]:
    """The config.json of the transformer in a model folder."""
    return dict(json.loads((folder / "transformer" / "config.json").read_text()))


def linear_shapes(kind: Any, config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of all linears of a transformer of this class and configuration, by name. Nothing is loaded."""
    return dict(_linear_shapes(kind, json.dumps(dict(config), sort_keys=True, default=list)))


@cache
def _linear_shapes(kind: Any, config: str) -> dict[str, tuple[int, int]]:
    """Building a large transformer takes seconds, also without memory for its weights."""
    with torch.device("meta"):
        model = kind.from_config(json.loads(config))
    return {
        name: (module.out_features, module.in_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def outer_parts(kind: Any, config: Mapping[str, Any], source: WeightSource) -> Any:
    """The transformer of this class with its weights outside of blocks, frozen: embedders, positions, last norm and projection.

    `config` must ask for no blocks. Buffers that are no part of the weights are the caller's to set.
    """
    with torch.device("meta"):
        rest = kind.from_config(dict(config))
    rest.load_state_dict({name: source.tensor(name) for name in rest.state_dict()}, assign=True)
    return rest.requires_grad_(False).eval()
