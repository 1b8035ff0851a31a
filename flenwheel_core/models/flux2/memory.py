"""What FLUX.2 keeps in the card's memory while it draws and trains, and how it stays within it.

Weights are counted exactly, from the configuration. What blocks keep and what a call works with is counted by hand, tensor by tensor in
bfloat16, as an upper bound: compiled blocks need less (the same count gives 38 bytes a token and channel for FLUX.1, where 35.6 were
measured). What a recomputed block keeps, and what a call in bfloat16 works with, is fitted to klein's stages on cards of 24, 16 and 12
GiB (dress_rehearsal.json), and so is what drawing takes besides. What depends on libraries and not on the model is taken over from FLUX.1.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flenwheel_core.base.errors import RecipeError
from flenwheel_core.kernels.frozen_weights import Storage
from flenwheel_core.memory.card import GIB
from flenwheel_core.memory.drawing import DrawingPlan, DrawingSpec, Largest, plan_drawing
from flenwheel_core.memory.training import BlockSpec, MemoryPlan, ModelSpec, choose_plan
from flenwheel_core.models.card_plan import CardRoom
from flenwheel_core.models.flux2.lora_host import linear_shapes_of
from flenwheel_core.models.flux2.names import TARGETS
from flenwheel_core.transformer.sources import LOADING_THREADS

if TYPE_CHECKING:
    from flenwheel_core.documents.storages import EditorStorage

_KEPT_DOUBLE: Mapping[Storage, float] = {"dense": 40.0, "fp8": 36.0, "nf4": 40.0}
"""Bytes a token and channel of a block that is not recomputed: two norms' inputs (4) and outputs (4), q, k and v as made (6) and as
attended (6), attention's output (2), the MLP before (12) and after (6) its bend. fp8 keeps the linears' inputs in half."""
_KEPT_SINGLE: Mapping[Storage, float] = {"dense": 38.0, "fp8": 34.0, "nf4": 38.0}
"""Norm's input (2) and output (2), q, k, v and MLP as made (18), q, k and v as attended (6), attention's output (2), both outputs side by
side (8)."""
_INPUT = 4.0
"""Bytes a token and channel of a block that is recomputed: its input, and what is added to it."""
_WORKING: Mapping[Storage, float] = {"dense": 31.0, "fp8": 31.0, "nf4": 42.0}
"""Bytes a token and channel of a call without gradients: what a single block has at once.
The first two are measured at full size; the last is counted (42 by the same count for bfloat16)."""
_STORAGES: "Mapping[EditorStorage, Storage]" = {"bf16": "dense", "fp8": "fp8", "nf4": "nf4"}


def drawing_spec(config: Mapping[str, Any], *, vae_gib: float) -> DrawingSpec:
    """Sizes from the transformer's config.json, for the plan of drawing. The autoencoder's decoder is as wide as FLUX.1's."""
    inside, outside = _weights(config)
    largest = max(outputs * inputs for outputs, inputs in linear_shapes_of(config).values())
    return DrawingSpec(
        weights=sum(inside.values()),
        largest_linear=largest,
        loading_bytes=LOADING_THREADS * largest * 6.0,
        other_bytes=2.0 * outside + vae_gib * GIB,
        channels=_channels(config),
        working_bytes=_WORKING,
        decoding_bytes=2500.0,
        fixed_bytes=0.41 * GIB,
    )


def training_spec(config: Mapping[str, Any]) -> ModelSpec:
    """Sizes from the transformer's config.json, for the plan of training."""
    inside, outside = _weights(config)
    nothing: dict[Storage, float] = {"dense": 0.0, "fp8": 0.0, "nf4": 0.0}
    kinds = (("double", "num_layers", _KEPT_DOUBLE), ("single", "num_single_layers", _KEPT_SINGLE))
    return ModelSpec(
        blocks=tuple(
            BlockSpec(
                int(config[count]), inside[kind] // max(int(config[count]), 1), _channels(config), kept, nothing, _INPUT
            )
            for kind, count, kept in kinds
        ),
        modulation_weights=0,  # shared by all blocks, and kept in the compute dtype with what is outside of them
        other_bytes=2.0 * outside,
        working_bytes=10.8,
        working_weight_bytes={"dense": 0.0, "fp8": 0.3, "nf4": 0.6},
        fixed_bytes=0.0,
    )


def drawing_memory(
    folder: Path,
    config: Mapping[str, Any],
    largest: Largest,
    card: CardRoom,
    *,
    wanted: "EditorStorage | None" = None,
    memory_level: int = 0,
) -> DrawingPlan:
    """The best way to draw within the card. Raises ResourceError if none fits, RecipeError for a storage that this family has not.

    A card that multiplies fp8 draws in it even where bf16 fits: an edit takes 0.7 of the time, and the publisher offers these weights in
    fp8, too.
    """
    vae_gib = sum(path.stat().st_size for path in (folder / "vae").glob("*.safetensors")) / GIB
    automatic: tuple[Storage, ...] = ("fp8", "dense", "nf4") if card.multiplies_fp8 else ("dense", "nf4")
    return plan_drawing(
        drawing_spec(config, vae_gib=vae_gib),
        largest,
        usable_gib=card.usable_gib,
        storages=automatic if wanted is None else (storage_of(wanted),),
        memory_level=memory_level,
        what="FLUX.2",
    )


def training_memory(
    config: Mapping[str, Any],
    ranks: Mapping[str, int],
    card: CardRoom,
    *,
    tokens: int,
    optimizer: str,
    wanted: "EditorStorage | None" = None,
    tighter: int = 0,
) -> tuple[MemoryPlan, str]:
    """The fastest way to train within the card, and its line for people; `tokens` are those of a whole step.

    Raises ResourceError if none fits, RecipeError for a storage that this family has not.
    """
    spec = training_spec(config)
    automatic: tuple[Storage, ...] = ("fp8", "nf4") if card.multiplies_fp8 else ("dense", "nf4")
    plan = choose_plan(
        spec,
        usable_gib=card.usable_gib,
        tokens=tokens,
        adapter_weights=adapter_weights_of(config, ranks),
        optimizer=optimizer,
        storages=automatic if wanted is None else (storage_of(wanted),),
        tighter=tighter,
    )
    return plan, plan.describe(spec)


def adapter_weights_of(config: Mapping[str, Any], ranks: Mapping[str, int]) -> int:
    """How many weights an adapter of these ranks has."""
    shapes = linear_shapes_of(config)
    return sum(rank * sum(shapes[name]) for name, rank in ranks.items())


def storage_of(wanted: "EditorStorage") -> Storage:
    """The storage of a recipe's word. Raises RecipeError for int8."""
    if wanted not in _STORAGES:
        raise RecipeError(
            f"FLUX.2 has no {wanted} weights.", remedy=f"Use one of {', '.join(_STORAGES)}, or leave it to be chosen."
        )
    return _STORAGES[wanted]


def _channels(config: Mapping[str, Any]) -> int:
    return int(config["num_attention_heads"]) * int(config["attention_head_dim"])


def _weights(config: Mapping[str, Any]) -> tuple[dict[str, int], int]:
    """Weights of the linears of all blocks of a kind, and of those outside of blocks."""
    inside, outside = dict.fromkeys(TARGETS.blocks, 0), 0
    for name, (outputs, inputs) in linear_shapes_of(config).items():
        block = TARGETS.block_of(name)
        if block is None:
            outside += outputs * inputs
        else:
            inside[block[0]] += outputs * inputs
    return inside, outside


def largest_of(sizes: Sequence[tuple[int, int]], adapter_weights: int) -> Largest:
    """The largest of some pictures, each with its tokens (picture, references and prompt) and pixels."""
    return Largest(max(tokens for tokens, _ in sizes), max(pixels for _, pixels in sizes), adapter_weights)
