"""What the editor keeps in the card's memory while it draws and while it is trained, and what is given up to stay within it.

The coefficients are measured at Qwen-Image-Edit's full size (benchmarks/results/edit_step.json, drawing_memory.json); they scale with
width and depth.
"""

from collections.abc import Mapping
from typing import Any

from flenwheel_core.kernels.frozen_weights import Storage
from flenwheel_core.memory.card import GIB, RECORDED_GIB
from flenwheel_core.memory.drawing import DrawingSpec
from flenwheel_core.memory.encoding import EncoderFormat, choose_encoder, encoding_gib
from flenwheel_core.memory.training import ADAPTER_BYTES, BlockSpec, MemoryPlan, ModelSpec, choose_plan
from flenwheel_core.transformer.sources import LOADING_THREADS

_ADAPTER_BYTES = 16.0
"""A weight, its gradient and Adam's two moments, float32."""
_RESERVE_GIB = 0.45 + RECORDED_GIB
_BYTES_RECOMPUTED = 2.75
"""A token, channel and layer: the inputs of recomputed blocks, and what one block needs at a time."""
_BYTES_ATTENTION = 3.35
"""A token and channel of a block whose attention output is kept."""
_BYTES_KEPT = 33.7
"""A token and channel of a block that is not recomputed."""
_ENCODING_GIB = 1.5
"""Activations of the encoder, for a prompt with pictures."""


def drawing_spec(config: Mapping[str, Any], *, vae_gib: float) -> DrawingSpec:
    """Sizes from the transformer's config.json, for the plan of drawing."""
    channels = int(config["num_attention_heads"]) * int(config["attention_head_dim"])
    square = channels * channels
    layers = int(config["num_layers"])
    biases = layers * 33 * channels
    outer = channels * (
        int(config["joint_attention_dim"]) + 256 + 3 * channels + 2 * int(config["in_channels"]) + 4 * 16
    )
    return DrawingSpec(
        weights=layers * 36 * square,
        largest_linear=6 * square,
        loading_bytes=LOADING_THREADS * 6 * square * 6.0,
        other_bytes=2.0 * (outer + biases) + vae_gib * GIB,
        channels=channels,
        working_bytes={"dense": 23.4, "fp8": 31.5, "nf4": 22.0},
        decoding_bytes=4300.0,
        fixed_bytes=0.35 * GIB,
    )


def plan_encoder(size_gib: float, usable_gib: float, memory_level: int = 0) -> EncoderFormat:
    """How the encoder, which reads pictures too, is read. Raises ResourceError if even NF4 does not fit."""
    return choose_encoder(size_gib, usable_gib, memory_level, working_gib=_ENCODING_GIB)


def encoder_peak_gib(size_gib: float, storage: EncoderFormat) -> float:
    """Memory while the encoder reads, alone on the card."""
    return encoding_gib(size_gib, storage, working_gib=_ENCODING_GIB)


def training_spec(config: Mapping[str, Any], *, weights_gib: float) -> ModelSpec:
    """Sizes from the transformer's config.json, for the plan of training; `weights_gib` is the transformer in its storage."""
    channels = int(config["num_attention_heads"]) * int(config["attention_head_dim"])
    nothing: dict[Storage, float] = {"dense": 0.0, "fp8": 0.0, "nf4": 0.0}
    blocks = BlockSpec(
        count=int(config["num_layers"]),
        weights=0,  # all weights stand in other_bytes, as they lie on the disk
        channels=channels,
        kept_bytes=dict.fromkeys(nothing, _BYTES_KEPT),
        kept_weight_bytes=nothing,
        input_bytes=_BYTES_RECOMPUTED,
    )
    return ModelSpec(
        blocks=(blocks,),
        modulation_weights=0,
        other_bytes=weights_gib * GIB,
        working_bytes=0.0,
        working_weight_bytes=nothing,
        fixed_bytes=0.0,
        attention_bytes=_BYTES_ATTENTION,
        adapter_bytes=dict.fromkeys(ADAPTER_BYTES, _ADAPTER_BYTES),
        reserve_gib=_RESERVE_GIB,
    )


def plan_training(
    spec: ModelSpec,
    *,
    storage: Storage,
    adapter_weights: int,
    tokens: int,
    optimizer: str,
    usable_gib: float,
    memory_level: int,
) -> MemoryPlan:
    """Nothing is recomputed where all fits, else everything, with as many attention outputs kept as fit. Raises ResourceError."""
    return choose_plan(
        spec,
        usable_gib=usable_gib,
        tokens=tokens,
        adapter_weights=adapter_weights,
        optimizer=optimizer,
        storages=(storage,),
        tighter=memory_level,
        what="Training Qwen-Image",
        remedy="Lower editor.train.resolution or its rank, set editor.storage = 'nf4', or use a card with more memory.",
    )
