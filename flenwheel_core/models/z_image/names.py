"""What the linears of a Z-Image transformer are called, in recipes and in LoRA files."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from flenwheel_core.adapters.lora_file import UiNames
from flenwheel_core.adapters.lora_reading import LoraHost
from flenwheel_core.adapters.targets import ModelLinears, TargetNames
from flenwheel_core.transformer.shell import linear_shapes

FAMILY_NAME = "Z-Image"
TARGETS = TargetNames(
    groups={
        "attention": ("layers.*.attention.*", "*_refiner.*.attention.*"),
        "mlp": ("layers.*.feed_forward.*", "*_refiner.*.feed_forward.*"),
        "modulation": ("layers.*.adaLN_modulation.0", "noise_refiner.*.adaLN_modulation.0"),
        "embedders": ("cap_embedder.1", "all_x_embedder.*"),
    },
    blocks={"layer": "layers", "noise_refiner": "noise_refiner", "text_refiner": "context_refiner"},
)
UI_NAMES = UiNames("z-image/lora", "z_image", "networks.lora_zimage")


def linear_shapes_of(config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of all linears of a Z-Image transformer with this configuration, by name."""
    from diffusers import ZImageTransformer2DModel

    return linear_shapes(ZImageTransformer2DModel, config)


def z_image_host(folder: Path) -> LoraHost:
    """The transformer of a Z-Image folder, by its configuration; nothing is loaded."""
    return _host((folder / "transformer" / "config.json").read_text())


@cache
def _host(config: str) -> LoraHost:
    linears = linear_shapes_of(json.loads(config))
    fused = {}
    for name in linears:
        head, found, _ = name.rpartition(".attention.to_q")
        if found:  # the trainers that follow Z-Image's own code keep q, k and v in one linear
            parts = tuple(f"{head}.attention.to_{one}" for one in "qkv")
            fused[f"{head}.attention.qkv".replace(".", "_")] = parts
            fused[f"{head}.attention.out".replace(".", "_")] = (f"{head}.attention.to_out.0",)
    return LoraHost(FAMILY_NAME, linears, fused)


def model_linears(folder: Path) -> ModelLinears:
    """What a LoRA may sit on in the transformer of a Z-Image folder; nothing is loaded."""
    return ModelLinears(z_image_host(folder).linears, TARGETS)
