"""What the editor keeps in the card's memory while it draws and while it is trained, and what is given up to stay within it.

The coefficients are measured at Qwen-Image-Edit's full size (benchmarks/results/edit_step.json, drawing_memory.json); they scale with
width and depth.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flenwheel_core.base.errors import ResourceError
from flenwheel_core.memory.card import GIB
from flenwheel_core.memory.drawing import DrawingSpec
from flenwheel_core.memory.levels import plan_at_level
from flenwheel_core.transformer.sources import LOADING_THREADS

ADAPTER_BYTES = 16
"""A weight, its gradient and Adam's two moments, float32."""
RESERVE_GIB = 0.7
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
        fixed_bytes=0.25 * GIB,
    )


def plan_encoder(size_gib: float, usable_gib: float, memory_level: int = 0) -> bool:
    """Whether the encoder is quantised: where its bfloat16 weights do not fit, and where memory ran out before.

    Raises ResourceError if even NF4 does not fit.
    """
    working = min(_ENCODING_GIB, size_gib / 8)
    if memory_level == 0 and size_gib + working <= usable_gib:
        return False
    if size_gib * 0.40 + working <= usable_gib:
        return True
    raise ResourceError(
        f"The editor's text encoder needs {size_gib * 0.40 + working:.1f} GiB of video memory, and {usable_gib:.1f} GiB may be used.",
        why="even in 4 bits it does not fit the card.",
        remedy="Use a card with more memory, raise vram_gib, or name a smaller editor in the recipe's [models].",
    )


@dataclass(frozen=True)
class Recompute:
    """How many blocks are recomputed in the backward pass, and how many of these keep attention's output."""

    blocks: int
    attention_kept: int
    predicted_gib: float
    """The peak of reserved memory."""

    def describe(self) -> str:
        """One line for people."""
        return f"{self.blocks} blocks recomputed, {self.attention_kept} of them keep attention's output, {self.predicted_gib:.1f} GiB"


def plan_recompute(
    config: Mapping[str, Any],
    *,
    weights_gib: float,
    adapter_weights: int,
    tokens: int,
    usable_gib: float,
    memory_level: int = 0,
) -> Recompute:
    """Nothing is recomputed where all fits, else everything, with as many attention outputs kept as fit.

    `memory_level` counts the out-of-memory errors before: each asks for the next plan that needs really less. Raises ResourceError if
    none fits, or if there is no tighter one.
    """
    layers = int(config["num_layers"])
    channels = int(config["num_attention_heads"]) * int(config["attention_head_dim"])
    line = tokens * channels / GIB
    standing = weights_gib + adapter_weights * ADAPTER_BYTES / GIB

    def plans() -> Iterator[Recompute]:
        yield Recompute(0, 0, standing + line * layers * _BYTES_KEPT)
        for kept in range(layers, -1, -1):
            yield Recompute(layers, kept, standing + line * (layers * _BYTES_RECOMPUTED + kept * _BYTES_ATTENTION))

    fitting = (plan for plan in plans() if plan.predicted_gib <= usable_gib - RESERVE_GIB)
    chosen = plan_at_level(fitting, lambda plan: plan.predicted_gib, memory_level)
    if chosen is not None:
        return chosen
    least = standing + line * layers * _BYTES_RECOMPUTED + RESERVE_GIB
    raise ResourceError(
        f"Training the editor needs {least:.1f} GiB of video memory at least, and {usable_gib:.1f} GiB may be used.",
        why=f"even with every block recomputed it does not fit {tokens} tokens a step.",
        remedy="Lower editor.train.resolution or its rank, set editor.storage = 'nf4', or use a card with more memory.",
    )
