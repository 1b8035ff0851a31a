"""How much video memory drawing or editing needs, and the best way to stay within what the card has. Nothing here knows a model.

Prompts and pictures are encoded first, by parts that leave the card again. Then weights, adapters and the autoencoder are on the card, and
each picture needs memory twice, one after the other: for a call of the transformer, and for decoding. What one leaves in the allocator the
other uses again in part. Where the card has no room for the rest, that is emptied in between; where decoding does not fit at all, it is
done in tiles. Coefficients were fitted to measurements at full width, two layers (drawing_memory.json), and then to whole stages at full
size (dress_rehearsal.json): no plan is below what its stage reserved (plans_today.json).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flenwheel_core.base.errors import ResourceError
from flenwheel_core.kernels.frozen_weights import BYTES_PER_WEIGHT, Storage
from flenwheel_core.memory.card import GIB
from flenwheel_core.memory.levels import plan_at_level

ADAPTER_BYTES = 2
"""A weight of a LoRA that is only worn: bfloat16."""
TILE_PX = 512
"""Side of a tile, where decoding is done in tiles."""
TILE_OVERLAP_PX = 128
"""Tiles overlap by so much and are blended there."""
LEFT_SHARE = 0.5
"""Of what the smaller of a call and of decoding needs, so much the other cannot use again: it lies in pieces."""


@dataclass(frozen=True)
class DrawingSpec:
    """What the plan must know of a model that draws."""

    weights: int
    """Weights of the linears whose storage is chosen."""
    largest_linear: int
    """Weights of the largest of them: unpacked for a product where they are stored as NF4."""
    other_bytes: float
    """Embedders, norms and biases, always in the compute dtype, and the autoencoder."""
    loading_bytes: float
    """Working memory of loading: weights in full size, before they are quantised."""
    channels: int
    working_bytes: Mapping[Storage, float]
    """Working memory of a call of the transformer, in bytes a token and channel."""
    decoding_bytes: float
    """Working memory of decoding, in bytes a pixel."""
    fixed_bytes: float
    """Work spaces of libraries."""
    worn_bytes: Mapping[Storage, float] = field(default_factory=dict)
    """What a transformer that wears LoRAs takes besides their weights; nothing where it is not named."""


@dataclass(frozen=True)
class Largest:
    """The largest picture of a run."""

    tokens: int
    """Of picture, references and prompt together."""
    pixels: int
    adapter_weights: int = 0


@dataclass(frozen=True)
class DrawingPlan:
    """How the weights are stored and how pictures are decoded, with the predicted peak."""

    storage: Storage
    predicted_gib: float
    empties: bool = False
    """Memory is given back between the last call and decoding, and after it."""
    tile_px: int | None = None
    """Pictures are decoded in tiles of this side; None: whole."""

    def describe(self) -> str:
        """One line for people."""
        decoding = "whole" if self.tile_px is None else f"in tiles of {self.tile_px} px"
        return f"{self.storage} weights, pictures decoded {decoding}, {self.predicted_gib:.1f} GiB"


def predict_drawing_gib(
    spec: DrawingSpec, largest: Largest, storage: Storage, *, empties: bool, tile_px: int | None
) -> float:
    """The peak of reserved memory while pictures are drawn, in GiB."""
    standing = spec.weights * BYTES_PER_WEIGHT[storage] + spec.other_bytes + spec.fixed_bytes
    if largest.adapter_weights:
        standing += largest.adapter_weights * ADAPTER_BYTES + spec.worn_bytes.get(storage, 0.0)
    loading = 0.0 if storage == "dense" else spec.loading_bytes
    calling = largest.tokens * spec.channels * spec.working_bytes[storage]
    if storage == "nf4":
        calling += 2 * spec.largest_linear
    pixels = largest.pixels if tile_px is None else min(largest.pixels, tile_px**2)
    decoding = pixels * spec.decoding_bytes
    left = 0.0 if empties else LEFT_SHARE * min(calling, decoding)
    drawing = max(calling, decoding) + left
    return (standing + max(loading, drawing)) / GIB


def drawing_plans(
    spec: DrawingSpec, largest: Largest, *, usable_gib: float, storages: Sequence[Storage]
) -> Iterator[DrawingPlan]:
    """All plans that fit, the best first: an exacter storage counts for more than the time that tiles take.

    Tiles are for quantised weights: where bfloat16 fits with tiles alone, fp8 is as good to look at, and far faster.
    """
    for storage in storages:
        ways = ((False, None), (True, None), (True, TILE_PX))
        for empties, tile_px in ways[:2] if storage == "dense" and len(storages) > 1 else ways:
            need = predict_drawing_gib(spec, largest, storage, empties=empties, tile_px=tile_px)
            if need <= usable_gib:
                yield DrawingPlan(storage, need, empties, tile_px)


def plan_drawing(
    spec: DrawingSpec,
    largest: Largest,
    *,
    usable_gib: float,
    storages: Sequence[Storage],
    memory_level: int = 0,
    what: str = "Drawing",
) -> DrawingPlan:
    """The best plan within the card, or the next tighter one for each time memory ran out before.

    Raises ResourceError with the smallest plan's need if none fits, and if there is no tighter one.
    """
    plans = drawing_plans(spec, largest, usable_gib=usable_gib, storages=storages)
    chosen = plan_at_level(plans, lambda plan: plan.predicted_gib, memory_level)
    if chosen is not None:
        return chosen
    smallest = min(predict_drawing_gib(spec, largest, storage, empties=True, tile_px=TILE_PX) for storage in storages)
    raise ResourceError(
        f"{what} needs {smallest:.1f} GiB of video memory at least, and {usable_gib:.1f} GiB may be used.",
        why=f"even with {storages[-1]} weights and decoding in tiles it does not fit.",
        remedy="Draw smaller pictures, use a card with more memory, raise vram_gib, or name a smaller model in the recipe's [models].",
    )
