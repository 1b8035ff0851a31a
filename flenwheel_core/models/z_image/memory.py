"""What Z-Image keeps in the card's memory while it draws and trains, and how it stays within it.

Training in fp8 is fitted to a card. Weights are counted exactly, from the configuration; what blocks keep otherwise, and what a call
works with, is counted by hand, tensor by tensor in bfloat16, as an upper bound. What depends on libraries and not on the model is taken
over from FLUX.1.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flenwheel_core.adapters.targets import lora_ranks
from flenwheel_core.base.errors import NoTighterPlanError, RecipeError, ResourceError
from flenwheel_core.kernels.frozen_weights import Storage
from flenwheel_core.memory.card import GIB
from flenwheel_core.memory.drawing import DrawingPlan, DrawingSpec, Largest, plan_drawing
from flenwheel_core.memory.training import ADAPTER_BYTES, BlockSpec, MemoryPlan, ModelSpec, choose_plan
from flenwheel_core.models.card_plan import CardRoom, StagePlan, planned
from flenwheel_core.models.model_folder import drawn_after_encoders, part_gib
from flenwheel_core.models.z_image.fast import FAST_NAMES
from flenwheel_core.models.z_image.geometry import PIXELS_PER_TOKEN, TEXT_TOKENS
from flenwheel_core.models.z_image.names import TARGETS, linear_shapes_of
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe
from flenwheel_core.transformer.adapted import covers
from flenwheel_core.transformer.shell import transformer_config
from flenwheel_core.transformer.sources import LOADING_THREADS

_KEPT: Mapping[Storage, float] = {"dense": 40.0, "fp8": 27.0, "nf4": 40.0}
"""Bytes a token and channel of a block that is not recomputed: its input and what is added to it (4), four norms' outputs (8), q, k and v
as made (6), q and k as attended (4), attention's output (2), the MLP's gate and value (11) and both as one (5). That of fp8 was fitted to
trainings on 24, 16 and 12 GiB (dress_rehearsal.json): the linears' inputs are in half, and compiled blocks keep less than that count."""
_WORKING: Mapping[Storage, float] = {"dense": 42.0, "fp8": 46.0, "nf4": 42.0}
"""Bytes a token and channel of a call without gradients: what a block has at once. fp8 makes codes of its inputs besides."""
_OWN_BLOCK = 96.0
"""Bytes a token and channel of the one block that is computed again, where diffusers' own modules train: the same, kept, and gradients."""
_OWN_FIXED_GIB = 1.5
_STORAGES: Mapping[str, Storage] = {"float32": "dense", "bf16": "dense", "fp8": "fp8", "nf4": "nf4"}


def can_be_fast(ranks: Mapping[str, int], recipe: LoraRecipe) -> bool:
    """True if FastZImage covers this adapter."""
    return covers(FAST_NAMES, ranks, recipe)


def drawing_spec(config: Mapping[str, Any], *, vae_gib: float) -> DrawingSpec:
    """Sizes from the transformer's config.json, for the plan of drawing."""
    inside, outside = _weights(config)
    largest = max(outputs * inputs for outputs, inputs in linear_shapes_of(config).values())
    return DrawingSpec(
        weights=sum(inside.values()),
        largest_linear=largest,
        loading_bytes=LOADING_THREADS * largest * 6.0,
        other_bytes=2.0 * outside + vae_gib * GIB,
        channels=int(config["dim"]),
        working_bytes=_WORKING,
        decoding_bytes=2500.0,
        fixed_bytes=0.35 * GIB,
    )


def drawing_memory(
    folder: Path, *, pixels: int, adapter_weights: int, card: CardRoom, memory_level: int = 0, exact: bool = False
) -> DrawingPlan:
    """How to draw within the card; `exact` asks for weights as they are. Raises ResourceError if it does not fit: nothing is loaded."""
    spec = drawing_spec(transformer_config(folder), vae_gib=part_gib(folder / "vae"))
    automatic: tuple[Storage, ...] = ("dense", "fp8", "nf4") if card.multiplies_fp8 else ("dense", "nf4")
    return plan_drawing(
        spec,
        Largest(pixels // PIXELS_PER_TOKEN**2 + TEXT_TOKENS, pixels, adapter_weights),
        usable_gib=card.usable_gib,
        storages=("dense",) if exact else automatic,
        memory_level=memory_level,
        what="Z-Image",
    )


def training_spec(config: Mapping[str, Any]) -> ModelSpec:
    """Sizes from the transformer's config.json, for the plan of training. Blocks of the text alone keep next to nothing."""
    inside, outside = _weights(config)
    channels = int(config["dim"])
    nothing: dict[Storage, float] = {"dense": 0.0, "fp8": 0.0, "nf4": 0.0}
    layers, refiners = int(config["n_layers"]), int(config["n_refiner_layers"])
    kinds = (("layer", layers, channels), ("noise_refiner", refiners, channels), ("text_refiner", refiners, 0))
    return ModelSpec(
        blocks=tuple(
            BlockSpec(count, inside[kind] // max(count, 1), width, _KEPT, nothing, 2.0) for kind, count, width in kinds
        ),
        modulation_weights=0,  # narrow, and kept in the compute dtype with what is outside of blocks
        other_bytes=2.0 * outside,
        working_bytes=10.8,
        working_weight_bytes={"dense": 0.0, "fp8": 0.3, "nf4": 0.6},
        fixed_bytes=1.70 * GIB,
    )


def training_memory(
    config: Mapping[str, Any], recipe: TrainingRecipe, card: CardRoom, *, tighter: int = 0
) -> tuple[MemoryPlan, str]:
    """The fastest way to train the recipe's adapter within the card, and its line for people.

    Raises ResourceError if none fits or none is tighter, RecipeError for a storage that this family has not.
    """
    spec = training_spec(config)
    automatic: tuple[Storage, ...] = ("fp8", "nf4") if card.multiplies_fp8 else ("dense", "nf4")
    plan = choose_plan(
        spec,
        usable_gib=card.usable_gib,
        tokens=_step_tokens(recipe),
        adapter_weights=adapter_weights_of(config, recipe),
        optimizer=recipe.optimizer,
        storages=automatic if recipe.weight_format == "auto" else (_STORAGES[recipe.weight_format],),
        tighter=tighter,
        what="Training Z-Image",
    )
    return plan, plan.describe(spec)


def own_modules_gib(folder: Path, recipe: TrainingRecipe, usable_gib: float, memory_level: int = 0) -> float:
    """The peak of training through diffusers' own modules, every block computed again, in GiB.

    Raises RecipeError for a storage that they have not, ResourceError, before anything loads, if it does not fit, or ran out of memory
    before: nothing is left to give up, and the same plan again would fail again.
    """
    if recipe.weight_format in ("fp8", "nf4"):
        raise RecipeError(
            f"weight_format = {recipe.weight_format!r} cannot be combined with this adapter.",
            why="DoRA, dropout, and adapters on modulation or embedders train through diffusers' own modules.",
            remedy="Set weight_format = 'auto', or train attention and mlp only.",
        )
    config = transformer_config(folder)
    channels, blocks = int(config["dim"]), int(config["n_layers"]) + 2 * int(config["n_refiner_layers"])
    adapter = adapter_weights_of(config, recipe) * ADAPTER_BYTES[recipe.optimizer]
    active = _step_tokens(recipe) * channels * (blocks * 2.0 + _OWN_BLOCK)
    need = part_gib(folder / "transformer") + _OWN_FIXED_GIB + (adapter + active) / GIB
    if memory_level > 0:
        raise NoTighterPlanError(
            "The card ran out of memory, and this adapter has no tighter plan.",
            why="DoRA, dropout, and adapters on modulation or embedders train in bfloat16, with every block computed again already.",
            remedy="Train attention and mlp only, without dropout and DoRA, or lower train.resolution or train.batch_size.",
        )
    if need > usable_gib:
        raise ResourceError(
            f"Training Z-Image needs {need:.1f} GiB of video memory at least, and {usable_gib:.1f} GiB may be used.",
            why="DoRA, dropout, and adapters on modulation or embedders train in bfloat16, with every block computed again.",
            remedy="Train attention and mlp only, lower train.resolution or the rank, or use a card with more memory.",
        )
    return need


def adapter_weights_of(config: Mapping[str, Any], recipe: TrainingRecipe) -> int:
    """How many weights the recipe's adapter has."""
    shapes = linear_shapes_of(config)
    return sum(rank * sum(shapes[name]) for name, rank in lora_ranks(shapes, recipe.lora, TARGETS).items())


def card_plans(folder: Path, recipe: Recipe, use: str, card: CardRoom) -> list[StagePlan]:
    """What training and drawing would do with a card, from sizes on the disk alone."""
    config, sampler = transformer_config(folder), recipe.generate.sampler
    fast = can_be_fast(lora_ranks(linear_shapes_of(config), recipe.train.lora, TARGETS), recipe.train.lora)

    def train() -> tuple[str, float]:
        if fast:
            plan, line = training_memory(config, recipe.train, card)
            return line, plan.predicted_gib
        need = own_modules_gib(folder, recipe.train, card.usable_gib)
        return f"bfloat16 weights, every block computed again, {need:.1f} GiB", need

    def generate() -> tuple[str, float]:
        worn = adapter_weights_of(config, recipe.train)
        pixels = sampler.width * sampler.height
        plan = drawing_memory(folder, pixels=pixels, adapter_weights=worn, card=card, exact=not fast)
        return drawn_after_encoders(folder, plan.describe(), plan.predicted_gib, card.usable_gib)

    return [planned("train", train), planned("generate, benchmark", generate)]


def _step_tokens(recipe: TrainingRecipe) -> int:
    return recipe.batch_size * ((recipe.resolution // PIXELS_PER_TOKEN) ** 2 + recipe.text_tokens)


def _weights(config: Mapping[str, Any]) -> tuple[dict[str, int], int]:
    """Weights of the linears of all blocks of a kind, and of those outside of blocks and of modulation."""
    inside, outside = dict.fromkeys(TARGETS.blocks, 0), 0
    for name, (outputs, inputs) in linear_shapes_of(config).items():
        block = TARGETS.block_of(name)
        if block is None or "adaLN" in name:
            outside += outputs * inputs
        else:
            inside[block[0]] += outputs * inputs
    return inside, outside
