"""FLUX.1-dev's shapes, with random weights and inputs, for the benchmarks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from flenwheel_core.models.flux1.fast import FAST_NAMES
from flenwheel_core.models.flux1.packing import image_ids
from flenwheel_core.transformer.plan import AdapterPlan
from flenwheel_core.transformer.sources import RandomSource

RANK = 16
TEXT_TOKENS = 512

_FULL: dict[str, Any] = {
    "patch_size": 1,
    "in_channels": 64,
    "out_channels": None,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
    "axes_dims_rope": (16, 56, 56),
}
CONFIGS: dict[str, dict[str, Any]] = {
    "full": _FULL,
    "tiny": {
        **_FULL,
        "num_layers": 2,
        "num_single_layers": 3,
        "num_attention_heads": 2,
        "joint_attention_dim": 64,
        "pooled_projection_dim": 64,
    },
}


@dataclass(frozen=True)
class FluxBatch:
    """Inputs of the transformer and the target of its prediction."""

    inputs: Mapping[str, torch.Tensor]
    target: torch.Tensor


def shapes(config: Mapping[str, Any]) -> dict[str, torch.Size]:
    """Shapes of all weights by name."""
    from diffusers import FluxTransformer2DModel

    with torch.device("meta"):
        model = FluxTransformer2DModel.from_config(dict(config))
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def random_source(config: Mapping[str, Any], device: torch.device, dtype: torch.dtype) -> RandomSource:
    """Random weights; the same for every storage, because they are asked for in the same order."""
    return RandomSource(shapes(config), device, dtype)


def adapter_names(config: Mapping[str, Any]) -> list[str]:
    """All linears of the blocks but the modulation."""
    names = (name.removesuffix(".weight") for name in shapes(config) if name.endswith(".weight"))
    return [name for name in names if "transformer_blocks." in name and name.endswith(FAST_NAMES)]


def adapter_plan(config: Mapping[str, Any], rank: int) -> AdapterPlan:
    """The same rank everywhere, scale 1."""
    names = adapter_names(config)
    return AdapterPlan(dict.fromkeys(names, rank), dict.fromkeys(names, 1.0))


def adapter_weights(config: Mapping[str, Any], rank: int) -> int:
    """Trained weights at this rank."""
    sizes = shapes(config)
    return rank * sum(sum(sizes[f"{name}.weight"]) for name in adapter_names(config))


def make_batch(
    config: Mapping[str, Any],
    pixels: int,
    device: torch.device,
    dtype: torch.dtype,
    batch: int,
    *,
    varied: bool = False,
) -> FluxBatch:
    """A random batch of square pictures; `varied` gives each its own noise level."""
    side = pixels // 16
    if config["num_layers"] < 10:
        side = max(2, side // 16)
    generator = torch.Generator(device).manual_seed(2)

    def random(*shape: int, dtype: torch.dtype = dtype) -> torch.Tensor:
        return torch.randn(shape, device=device, generator=generator, dtype=torch.float32).to(dtype)

    text = TEXT_TOKENS if config["num_layers"] >= 10 else 8
    inputs = {
        "hidden_states": random(batch, side * side, config["in_channels"]),
        "encoder_hidden_states": random(batch, text, config["joint_attention_dim"]),
        "pooled_projections": random(batch, config["pooled_projection_dim"]),
        "timestep": torch.full((batch,), 0.6, device=device),
        "guidance": torch.ones(batch, device=device),
        "img_ids": image_ids(side, side).to(device),
        "txt_ids": torch.zeros(text, 3, device=device),
    }
    if varied:
        inputs["timestep"] = torch.linspace(0.3, 0.9, batch, device=device)
    return FluxBatch(inputs, random(batch, side * side, config["in_channels"], dtype=torch.float32))
