"""What a training step of the language layers takes of a card, counted from shapes, and the fastest way to stay within it.

Counted by hand, tensor by tensor: weights, the output, adapters with their optimizer, what layers keep for the backward pass, one layer's
work, and the answers' logits. The eyes are not on the card then. What depends on libraries alone was measured once
(benchmarks/speed/vl_step.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flenwheel_core.base.errors import RecipeError, ResourceError
from flenwheel_core.documents.storages import WeightFormat
from flenwheel_core.kernels.frozen_weights import BYTES_PER_WEIGHT, Storage
from flenwheel_core.memory.card import GIB, RECORDED_GIB
from flenwheel_core.memory.levels import plan_at_level
from flenwheel_core.memory.training import ADAPTER_BYTES
from flenwheel_core.models.card_plan import CardRoom
from flenwheel_core.models.qwen_vl.geometry import VlGeometry

_STORAGES: dict[WeightFormat, Storage] = {"bf16": "dense", "float32": "dense", "fp8": "fp8", "nf4": "nf4"}
_RESERVE_GIB = 0.3 + RECORDED_GIB
"""Left free for what the count misses, and for what the driver keeps of recorded steps."""
FIXED_GIB = 0.35
"""Workspaces of cuBLAS, on the stream of steps and on the one that records, and what lies unused in the allocator's blocks."""
_LOGIT_BYTES = 3.0
"""Bytes of a logit at the peak: its gradient is written in its place, and half as much lies unused around blocks of that size (fitted to
vl_memory.json); the compiled loss never holds all of them in float32."""
_FEWER_ADAPTER_BYTES = 2.7
"""A trained weight takes so many bytes less than was measured for FLUX, whose adapters are many and small."""
_UNPACKED: dict[Storage, float] = {"dense": 0.0, "fp8": 1.0, "nf4": 2.0}
"""Bytes a weight of the largest linear, while it is multiplied: fp8 transposed; NF4 as fp8, and that transposed."""


@dataclass(frozen=True)
class VlLoad:
    """What a step is about."""

    tokens: int
    """Of the whole batch, filled up."""
    answer_tokens: int
    """Places of the whole batch that meet the vocabulary."""
    rank: int
    adapter_weights: int
    optimizer: str = "adamw"


@dataclass(frozen=True)
class VlPlan:
    """How a model is trained."""

    storage: Storage
    recompute: int
    """So many layers, from the first, are computed again in the backward pass."""
    predicted_gib: float

    def describe(self, geometry: VlGeometry) -> str:
        """One line for people."""
        return f"{self.storage} weights, {self.recompute} of {geometry.layers} layers recomputed, {self.predicted_gib:.1f} GiB"


def predict_gib(geometry: VlGeometry, load: VlLoad, storage: Storage, recompute: int) -> float:
    """The peak reserved memory of a recorded training step, in GiB."""
    width, queries, keys = geometry.width, geometry.heads * geometry.head, geometry.key_heads * geometry.head
    # A layer keeps its input; both norms' outputs, the sum between; q, k, v as made, q turned, k and v for every head, attention's
    # output; gate and value, their product; and the adapters' inner products.
    kept = 2.0 * (4 * width + (queries + 2 * keys) + 4 * queries + 3 * geometry.mlp + 7 * load.rank)
    # In the backward pass of an MLP: gradients of the product, of gate and value.
    working = 2.0 * (3 * geometry.mlp + 2 * width)
    forward = (geometry.layers - recompute) * kept + recompute * 2.0 * width
    backward = forward + (kept if recompute else 0.0) + working
    # The loss is done before any layer is computed again.
    logits = load.answer_tokens * geometry.vocabulary * _LOGIT_BYTES
    inputs = load.tokens * 2 * 2.0 * width * (1 + geometry.levels)
    total = geometry.weights * BYTES_PER_WEIGHT[storage] + 2.0 * geometry.vocabulary * width
    total += load.adapter_weights * (ADAPTER_BYTES[load.optimizer] - _FEWER_ADAPTER_BYTES)
    total += _UNPACKED[storage] * 2 * geometry.mlp * width
    total += inputs + max(load.tokens * backward, load.tokens * forward + logits)
    return total / GIB + FIXED_GIB


def choose_plan(
    geometry: VlGeometry, load: VlLoad, room: CardRoom, wanted: WeightFormat = "auto", *, memory_level: int = 0
) -> VlPlan:
    """The fastest plan within the card: with everything kept where that fits, then with layers computed again.

    Raises ResourceError if none fits.
    """
    smallest = float("inf")

    def plans() -> Iterator[VlPlan]:
        nonlocal smallest
        for storage in storages_of(wanted, room):
            for recompute in range(geometry.layers + 1):
                need = predict_gib(geometry, load, storage, recompute)
                smallest = min(smallest, need)
                if need <= room.usable_gib - _RESERVE_GIB:
                    yield VlPlan(storage, recompute, need)

    chosen = plan_at_level(plans(), lambda plan: plan.predicted_gib, memory_level)
    if chosen is not None:
        return chosen
    raise ResourceError(
        f"Training needs {smallest + _RESERVE_GIB:.1f} GiB of video memory at least, and {room.usable_gib:.1f} GiB may be used.",
        why=f"even with every layer computed again it does not fit {load.tokens} tokens a step.",
        remedy="Show smaller pictures, lower batch_size or lora.rank, take optimizer = 'adamw8bit', or a smaller model.",
    )


def storages_of(wanted: WeightFormat, room: CardRoom) -> Sequence[Storage]:
    """The storages that are tried, the fastest first. Raises RecipeError for one that this card has not."""
    if wanted == "auto":
        return ("fp8", "nf4") if room.multiplies_fp8 else ("dense", "nf4")
    if wanted == "fp8" and not room.multiplies_fp8:
        raise RecipeError(
            "This card does not multiply fp8.", remedy="Use weight_format = 'nf4' or 'bf16', or leave it to be chosen."
        )
    return (_STORAGES[wanted],)
