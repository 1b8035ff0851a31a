"""What the editor's training keeps in the card's memory, and what it recomputes to stay within it.

The coefficients are measured at Qwen-Image-Edit's full size (benchmarks/results/edit_step.json); they scale with width and depth.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flenwheel_core.families.qwen_edit.conditioning import PIXELS_PER_TOKEN

GIB = 2**30
ADAPTER_BYTES = 16
"""A weight, its gradient and Adam's two moments, float32."""
RESERVE_GIB = 0.7
TEXT_TOKENS = 1300
"""A prompt with one picture of 1 MP, as the first revision reads it; a Plus model needs fewer."""
_BYTES_RECOMPUTED = 2.75
"""A token, channel and layer: the inputs of recomputed blocks, and what one block needs at a time."""
_BYTES_ATTENTION = 3.35
"""A token and channel of a block whose attention output is kept."""
_BYTES_KEPT = 33.7
"""A token and channel of a block that is not recomputed."""


@dataclass(frozen=True)
class Recompute:
    """How many blocks are recomputed in the backward pass, and how many of these keep attention's output."""

    blocks: int
    attention_kept: int


def tokens_of_step(resolution: int, *, batch_size: int = 1) -> int:
    """Target, one reference of the same size, and the prompt."""
    return batch_size * (2 * (resolution // PIXELS_PER_TOKEN) ** 2 + TEXT_TOKENS)


def plan_recompute(
    config: Mapping[str, Any],
    *,
    weights_gib: float,
    adapter_weights: int,
    tokens: int,
    budget_gib: float,
    memory_level: int = 0,
) -> Recompute:
    """Nothing is recomputed where all fits, else everything, with as many attention outputs kept as fit.

    Each out-of-memory error before (`memory_level`) leaves a tenth of the budget unused, and the second one keeps nothing.
    """
    layers = int(config["num_layers"])
    channels = int(config["num_attention_heads"]) * int(config["attention_head_dim"])
    line = tokens * channels / GIB
    free = budget_gib * (1 - 0.1 * memory_level) - RESERVE_GIB - weights_gib - adapter_weights * ADAPTER_BYTES / GIB
    if free >= line * layers * _BYTES_KEPT:
        return Recompute(0, 0)
    free -= line * layers * _BYTES_RECOMPUTED
    kept = int(free / (line * _BYTES_ATTENTION)) if memory_level < 2 else 0
    return Recompute(layers, max(0, min(layers, kept)))
