"""FLUX for the memory plan: its sizes, and what one of its blocks keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flenwheel_core.adapters.targets import lora_ranks
from flenwheel_core.base.errors import NoTighterPlanError, RecipeError
from flenwheel_core.documents.storages import TextFormat
from flenwheel_core.kernels.attention import cudnn_attention_works
from flenwheel_core.kernels.frozen_weights import Storage
from flenwheel_core.memory.card import GIB, multiplies_fp8
from flenwheel_core.memory.drawing import DrawingPlan, DrawingSpec, Largest, plan_drawing
from flenwheel_core.memory.training import BlockSpec, MemoryPlan, ModelSpec, before_adapters, choose_plan
from flenwheel_core.models.card_plan import UNPLANNED, CardRoom, StagePlan, planned
from flenwheel_core.models.flux1.adapter import TARGETS, can_be_fast, linear_shapes_of
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.packing import PIXELS_PER_TOKEN
from flenwheel_core.models.model_folder import drawn_after_encoders
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.transformer.plan import FastPlan
from flenwheel_core.transformer.shell import transformer_config
from flenwheel_core.transformer.sources import LOADING_THREADS

if TYPE_CHECKING:
    from flenwheel_core.documents.storages import EditorStorage

TEXT_TOKENS = 512
"""What is read of a prompt when drawing."""
_WORN: Mapping[Storage, float] = {"dense": 0.84 * GIB, "fp8": 0.84 * GIB, "nf4": 0.4 * GIB}
"""What drawing with LoRAs reserved besides their weights, at FLUX.1-dev's size; in bfloat16 it was not measured, and the larger one stands.
In part it may have been encoders' memory, which is given back before drawing since."""


@dataclass(frozen=True)
class ChosenPlan:
    """What the fast transformer is built with, and the sentence that says why."""

    plan: FastPlan
    text: str


def flux_spec(config: Mapping[str, Any], *, multiplies_fp8: bool = True) -> ModelSpec:
    """Sizes from the transformer's config.json; the coefficients are measured at FLUX.1-dev's size.

    NF4 is multiplied as fp8 where the card can, and then keeps its inputs in half.
    """
    channels = int(config["num_attention_heads"]) * int(config["attention_head_dim"])
    square = channels * channels
    double, single = int(config["num_layers"]), int(config["num_single_layers"])
    other = channels * (
        int(config["joint_attention_dim"]) + 6 * channels + 3 * 256 + int(config["pooled_projection_dim"])
    )
    kept: dict[Storage, float] = {"dense": 35.6, "fp8": 28.7, "nf4": 27.2 if multiplies_fp8 else 34.7}
    kept_weights: dict[Storage, float] = {"dense": 0.0, "fp8": 0.0, "nf4": 0.0}
    return ModelSpec(
        blocks=(
            BlockSpec(double, 24 * square, channels, kept, kept_weights, 2.0),
            BlockSpec(single, 12 * square, channels, kept, kept_weights, 2.0),
        ),
        modulation_weights=(double * 12 + single * 3) * square,
        other_bytes=2.0 * other,
        working_bytes=10.8,
        working_weight_bytes={"dense": 0.0, "fp8": 0.3, "nf4": 0.6},
        fixed_bytes=1.52 * 2**30,
    )


def plan_training(
    model: FluxModel, recipe: TrainingRecipe, *, tighter: int, tokens: int | None = None
) -> ChosenPlan | None:
    """How to train within the model's memory budget; None if it goes through diffusers' own modules.

    `tokens` are those of the largest step; None: of square pictures of the recipe's size.

    Raises ResourceError if no plan fits, NoTighterPlanError if there is none that is tighter, RecipeError for a storage this adapter
    cannot have.
    """
    config = transformer_config(model.folder)
    ranks = lora_ranks(linear_shapes_of(config), recipe.lora, TARGETS)
    if not can_be_fast(ranks, recipe.lora):
        if recipe.weight_format in ("fp8", "nf4"):
            raise RecipeError(
                f"weight_format = {recipe.weight_format!r} cannot be combined with this adapter.",
                why="DoRA, dropout, and adapters on modulation or embedders train through diffusers' own modules.",
                remedy="Set weight_format = 'auto', or train attention and mlp only.",
            )
        if tighter:
            raise NoTighterPlanError(
                "The card ran out of memory, and this adapter has no tighter plan.",
                why="DoRA, dropout, and adapters on modulation or embedders train in bfloat16, with every block computed again already.",
                remedy="Train attention and mlp only, without dropout and DoRA, or lower train.resolution or train.batch_size.",
            )
        return None
    if model.device.type != "cuda":
        if recipe.weight_format in ("auto", "float32", "bf16"):
            return None
        storage: Storage = "fp8" if recipe.weight_format == "fp8" else "nf4"
        plan = FastPlan(storage=storage, modulation=storage, compile=False, cudnn=False)
        return ChosenPlan(plan, f"{storage} weights, computed as on a card (slow here)")
    assert model.budget_gib is not None
    card = CardRoom(model.budget_gib, multiplies_fp8(model.device))
    spec = flux_spec(config, multiplies_fp8=card.multiplies_fp8)
    chosen = _training_memory(spec, config, ranks, recipe, card, tokens or step_tokens(recipe), tighter)
    plan = FastPlan(
        storage=chosen.storage,
        modulation=chosen.modulation,
        keep_transposed=chosen.transposed,
        recompute=chosen.recompute,
        compile=recipe.compile is not False and not recipe.deterministic,
        cudnn=not recipe.deterministic and cudnn_attention_works(model.device, int(str(config["attention_head_dim"]))),
    )
    return ChosenPlan(plan, f"{chosen.describe(spec)} of {model.budget_gib:.1f} GiB")


def _training_memory(
    spec: ModelSpec,
    config: Mapping[str, Any],
    ranks: Mapping[str, int],
    recipe: TrainingRecipe,
    card: CardRoom,
    tokens: int,
    tighter: int = 0,
) -> MemoryPlan:
    return choose_plan(
        before_adapters(spec, [_numbers(ranks, kind) for kind in ("transformer_blocks", "single_transformer_blocks")]),
        usable_gib=card.usable_gib,
        tokens=tokens,
        adapter_weights=_adapter_weights(config, ranks),
        optimizer=recipe.optimizer,
        storages=_storages(recipe, fp8=card.multiplies_fp8),
        tighter=tighter,
    )


def _numbers(ranks: Mapping[str, int], kind: str) -> set[int]:
    """Which blocks of a kind have adapters, from the names of linears."""
    return {int(name.split(".")[1]) for name in ranks if name.split(".")[0] == kind}


def step_tokens(recipe: TrainingRecipe, pictures: int = 1) -> int:
    """Tokens of a training step with so many square pictures an item, of the recipe's size, and text."""
    return recipe.batch_size * (pictures * (recipe.resolution // PIXELS_PER_TOKEN) ** 2 + recipe.text_tokens)


def stored_as(recipe: TrainingRecipe, storage: "EditorStorage | None") -> TrainingRecipe:
    """The recipe with the editor's storage, which goes before its weight_format. Raises RecipeError for int8."""
    if storage is None:
        return recipe
    if storage == "int8":
        raise RecipeError("FLUX.1 has no int8 weights.", remedy="Use bf16, fp8 or nf4, or leave it to be chosen.")
    return recipe.model_copy(update={"weight_format": storage})


def card_plans(folder: Path, recipe: Recipe, use: str, card: CardRoom) -> list[StagePlan]:
    """What training and drawing would do with a card; as an editor with one reference as large as the edit."""
    config = transformer_config(folder)
    edits = use == "editor"
    asked = recipe.editor.train if edits else recipe.train
    sampler = recipe.enrich.sampler if edits else recipe.generate.sampler
    storage = recipe.editor.storage if edits else None
    pictures = 2 if edits else 1
    lessons = 2 if edits and recipe.editor.compares else 1
    ranks = lora_ranks(linear_shapes_of(config), asked.lora, TARGETS)

    def train() -> tuple[str, float]:
        spec = flux_spec(config, multiplies_fp8=card.multiplies_fp8)
        plan = _training_memory(
            spec, config, ranks, stored_as(asked, storage), card, lessons * step_tokens(asked, pictures)
        )
        return plan.describe(spec), plan.predicted_gib

    def draw() -> tuple[str, float]:
        pixels = sampler.width * sampler.height
        largest = largest_of([(pixels, pictures - 1)], _adapter_weights(config, ranks))
        plan = _drawing_memory(config, largest, card, storage, 0)
        return drawn_after_encoders(folder, plan.describe(), plan.predicted_gib, card.usable_gib)

    drawing, training = ("enrich", "edit_train") if edits else ("generate, benchmark", "train")
    learns = planned(training, train) if can_be_fast(ranks, asked.lora) else StagePlan(training, UNPLANNED, None)
    return [planned(drawing, draw), learns] if edits else [learns, planned(drawing, draw)]


def largest_of(pictures: Sequence[tuple[int, int]], adapter_weights: int) -> Largest:
    """The largest of some pictures, each with its pixels and the number of references of the same size."""
    tokens = max((1 + references) * pixels // PIXELS_PER_TOKEN**2 for pixels, references in pictures)
    return Largest(tokens + TEXT_TOKENS, max(pixels for pixels, _ in pictures), adapter_weights)


@dataclass(frozen=True)
class ChosenDrawing:
    """How to draw: the fast transformer's plan (None: diffusers' own in bfloat16), the encoders' storage, and the memory plan."""

    fast: FastPlan | None
    encoders: TextFormat
    memory: DrawingPlan


def drawing_spec(config: Mapping[str, Any]) -> DrawingSpec:
    """Sizes from the transformer's config.json, for the plan of drawing; coefficients are measured at FLUX.1-dev's size."""
    channels = int(config["num_attention_heads"]) * int(config["attention_head_dim"])
    square = channels * channels
    double, single = int(config["num_layers"]), int(config["num_single_layers"])
    training = flux_spec(config)
    return DrawingSpec(
        weights=(36 * double + 15 * single) * square,
        largest_linear=7 * square,
        loading_bytes=LOADING_THREADS * 7 * square * 6.0,
        other_bytes=training.other_bytes + 2.0 * (double * 46 + single * 15) * channels,
        channels=channels,
        working_bytes={"dense": 31.0, "fp8": 36.0, "nf4": 21.0},
        decoding_bytes=2500.0,
        fixed_bytes=0.21 * GIB,
        worn_bytes=_WORN,
    )


def choose_drawing(
    model: FluxModel, largest: Largest, *, memory_level: int, wanted: "EditorStorage | None" = None
) -> ChosenDrawing | None:
    """How to draw pictures within the card's memory, or more tightly after memory ran out; None on a CPU.

    Raises ResourceError before anything loads if nothing fits, RecipeError for a storage that this family has not.
    """
    if model.budget_gib is None:
        return None
    config = transformer_config(model.folder)
    card = CardRoom(model.budget_gib, multiplies_fp8(model.device))
    memory = _drawing_memory(config, largest, card, wanted, memory_level)
    fast = None
    if memory.storage != "dense":
        works = cudnn_attention_works(model.device, int(str(config["attention_head_dim"])))
        fast = FastPlan(storage=memory.storage, modulation=memory.storage, cudnn=works)
    return ChosenDrawing(fast, model.encoder_format(memory_level=memory_level), memory)


def _drawing_memory(
    config: Mapping[str, Any],
    largest: Largest,
    card: CardRoom,
    wanted: "EditorStorage | None",
    memory_level: int,
) -> DrawingPlan:
    storages: tuple[Storage, ...] = ("dense", "fp8", "nf4") if card.multiplies_fp8 else ("dense", "nf4")
    if wanted is not None:
        storages = _storages(stored_as(TrainingRecipe(), wanted), fp8=card.multiplies_fp8)
    return plan_drawing(
        drawing_spec(config),
        largest,
        usable_gib=card.usable_gib,
        storages=storages,
        memory_level=memory_level,
        what="FLUX.1",
    )


def _storages(recipe: TrainingRecipe, *, fp8: bool) -> tuple[Storage, ...]:
    by_name: dict[str, tuple[Storage, ...]] = {
        "float32": ("dense",),
        "bf16": ("dense",),
        "fp8": ("fp8",),
        "nf4": ("nf4",),
    }
    if recipe.weight_format in by_name:
        return by_name[recipe.weight_format]
    if fp8:
        return ("fp8", "nf4")
    return ("dense", "nf4")


def _adapter_weights(config: Mapping[str, Any], ranks: Mapping[str, int]) -> int:
    shapes = linear_shapes_of(config)
    return sum(rank * sum(shapes[name]) for name, rank in ranks.items())
