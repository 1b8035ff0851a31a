"""What Z-Image keeps in the card's memory while it draws and trains, through diffusers' own modules in bfloat16.

None of this was measured on a card yet. Weights are counted from the files; what a call works with is counted by hand, tensor by tensor,
as an upper bound.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flenwheel_core.adapters.targets import lora_ranks
from flenwheel_core.base.errors import ResourceError
from flenwheel_core.memory.card import GIB
from flenwheel_core.memory.drawing import DrawingPlan, DrawingSpec, Largest, plan_drawing
from flenwheel_core.memory.training import ADAPTER_BYTES
from flenwheel_core.models.card_plan import CardRoom, StagePlan, planned
from flenwheel_core.models.model_folder import part_gib
from flenwheel_core.models.z_image.geometry import PIXELS_PER_TOKEN, TEXT_TOKENS
from flenwheel_core.models.z_image.names import TARGETS, linear_shapes_of
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.transformer.shell import transformer_config

_WORKING_BYTES = 48.0
"""A token and channel of a call without gradients: a block's input and norm, q, k, v as made and attended, both branches of the MLP."""
_BLOCK_BYTES = 96.0
"""A token and channel of the one block that is computed again for its gradients: the same, kept, and their gradients."""
_INPUT_BYTES = 2.0
"""A token and channel of each block: its input, from which it is computed again."""
_FIXED_GIB = 1.5
_ENCODING_GIB = 0.6


def drawing_memory(
    folder: Path, *, pixels: int, adapter_weights: int, card: CardRoom, memory_level: int = 0
) -> DrawingPlan:
    """How to draw within the card. Raises ResourceError, before anything loads, if it does not fit."""
    config = transformer_config(folder)
    spec = DrawingSpec(
        weights=round(part_gib(folder / "transformer") * GIB / 2),
        largest_linear=0,
        loading_bytes=0.0,
        other_bytes=part_gib(folder / "vae") * GIB,
        channels=int(config["dim"]),
        working_bytes={"dense": _WORKING_BYTES},
        decoding_bytes=2500.0,
        fixed_bytes=0.25 * GIB,
    )
    largest = Largest(pixels // PIXELS_PER_TOKEN**2 + TEXT_TOKENS, pixels, adapter_weights)
    return plan_drawing(
        spec, largest, usable_gib=card.usable_gib, storages=("dense",), memory_level=memory_level, what="Z-Image"
    )


def training_gib(folder: Path, recipe: TrainingRecipe) -> float:
    """The peak of training with every block computed again."""
    config = transformer_config(folder)
    channels, blocks = int(config["dim"]), int(config["n_layers"]) + 2 * int(config["n_refiner_layers"])
    tokens = recipe.batch_size * ((recipe.resolution // PIXELS_PER_TOKEN) ** 2 + recipe.text_tokens)
    adapter = adapter_weights_of(config, recipe) * ADAPTER_BYTES[recipe.optimizer]
    active = tokens * channels * (blocks * _INPUT_BYTES + _BLOCK_BYTES)
    return part_gib(folder / "transformer") + _FIXED_GIB + (adapter + active) / GIB


def require_room(folder: Path, recipe: TrainingRecipe, usable_gib: float, memory_level: int = 0) -> float:
    """The peak of training in GiB. Raises ResourceError, before anything loads, if it does not fit, or ran out of memory before.

    Nothing is left to give up: the same plan again would fail again.
    """
    need = training_gib(folder, recipe)
    if need > usable_gib or memory_level > 0:
        before = ", and ran out of memory with it" if memory_level > 0 else ""
        raise ResourceError(
            f"Training Z-Image needs {need:.1f} GiB of video memory at least, and {usable_gib:.1f} GiB may be used{before}.",
            why="its weights are trained on in bfloat16, with every block computed again: there is no tighter plan.",
            remedy="Lower train.resolution or the rank, use a card with more memory, or name a smaller base in [models].",
        )
    return need


def adapter_weights_of(config: Mapping[str, Any], recipe: TrainingRecipe) -> int:
    """How many weights the recipe's adapter has."""
    shapes = linear_shapes_of(config)
    return sum(rank * sum(shapes[name]) for name, rank in lora_ranks(shapes, recipe.lora, TARGETS).items())


def card_plans(folder: Path, recipe: Recipe, use: str, card: CardRoom) -> list[StagePlan]:
    """What training and drawing would do with a card, from sizes on the disk alone."""
    sampler = recipe.generate.sampler

    def train() -> tuple[str, float]:
        need = require_room(folder, recipe.train, card.usable_gib)
        return f"bfloat16 weights, every block computed again, {need:.1f} GiB", need

    def generate() -> tuple[str, float]:
        worn = adapter_weights_of(transformer_config(folder), recipe.train)
        plan = drawing_memory(folder, pixels=sampler.width * sampler.height, adapter_weights=worn, card=card)
        return plan.describe(), plan.predicted_gib

    return [planned("train", train), planned("generate, benchmark", generate)]
