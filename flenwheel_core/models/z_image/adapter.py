"""A LoRA on Z-Image: on the fast transformer where it covers the recipe, else on diffusers' own modules."""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from flenwheel_core.adapters.lora_reading import WornLora
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer, adapt_by_peft, adapter_scales, linear_names
from flenwheel_core.adapters.stacked import fill_stacked
from flenwheel_core.adapters.targets import lora_ranks
from flenwheel_core.engine.graphs import Recorder, records
from flenwheel_core.kernels.attention import cudnn_attention_works, learn_through_other_modules
from flenwheel_core.memory.card import multiplies_fp8
from flenwheel_core.models.card_plan import CardRoom
from flenwheel_core.models.shelf import Shelf, take_fast
from flenwheel_core.models.z_image.fast import FAST_NAMES, FastZImage
from flenwheel_core.models.z_image.loading import ZImageModel
from flenwheel_core.models.z_image.memory import can_be_fast, own_modules_gib, training_memory
from flenwheel_core.models.z_image.names import TARGETS, linear_shapes_of
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.transformer.adapted import require_covered, stacked_plan, start_matrices, with_lora
from flenwheel_core.transformer.plan import OTHER_MODULES, AdapterPlan, FastPlan
from flenwheel_core.transformer.shell import transformer_config
from flenwheel_core.transformer.sources import FolderSource


def plan_training(
    model: ZImageModel, recipe: TrainingRecipe, note: Callable[[str], None], *, tighter: int
) -> FastPlan | None:
    """How the recipe's adapter is trained; None through diffusers' own modules. `note` is told.

    Raises ResourceError or RecipeError if it cannot be; nothing is loaded before.
    """
    config = transformer_config(model.folder)
    if not can_be_fast(lora_ranks(linear_shapes_of(config), recipe.lora, TARGETS), recipe.lora):
        if model.budget_gib is not None:
            need = own_modules_gib(model.folder, recipe, model.budget_gib, tighter)
            note(f"memory plan: bfloat16 weights, every block computed again, {need:.1f} of {model.budget_gib:.1f} GiB")
            note(OTHER_MODULES)
        return None
    if model.budget_gib is None:
        if recipe.weight_format not in ("fp8", "nf4"):
            return None
        note(f"memory plan: {recipe.weight_format} weights, computed as on a card (slow here)")
        return FastPlan(storage="fp8" if recipe.weight_format == "fp8" else "nf4", compile=False, cudnn=False)
    card = CardRoom(model.budget_gib, multiplies_fp8(model.device))
    chosen, line = training_memory(config, recipe, card, tighter=tighter)
    note(f"memory plan: {line} of {model.budget_gib:.1f} GiB")
    plan = FastPlan(
        storage=chosen.storage,
        keep_transposed=chosen.transposed,
        recompute=chosen.recompute,
        compile=recipe.compile is not False and not recipe.deterministic,
        cudnn=not recipe.deterministic and cudnn_attention_works(model.device, head_width(model)),
    )
    note(plan.kernel_line(model.device))
    return plan


def adapt(model: ZImageModel, recipe: TrainingRecipe, plan: FastPlan | None, *, seed: int) -> AdaptedTransformer:
    """A transformer with a new adapter, started as PEFT's is."""
    if plan is not None:
        ranks = lora_ranks(linear_shapes_of(transformer_config(model.folder)), recipe.lora, TARGETS)
        scales = adapter_scales(ranks, recipe.lora)
        fast = _fast(model, plan, AdapterPlan(ranks, scales, torch.float32))
        return start_matrices(with_lora(fast, ranks, scales), seed=seed)
    transformer = model.load_transformer()
    ranks = lora_ranks(linear_names(transformer), recipe.lora, TARGETS)
    adapted = adapt_by_peft(transformer, ranks, recipe.lora, seed=seed)
    if model.device.type == "cuda":
        learn_through_other_modules()
        transformer.enable_gradient_checkpointing()
    return adapted


def start_recorder(
    model: ZImageModel,
    recipe: TrainingRecipe,
    plan: FastPlan | None,
    adapted: AdaptedTransformer,
    note: Callable[[str], None],
) -> Recorder | None:
    """What runs steps as CUDA graphs, where that is possible: captions of one batch may have any length, so it holds one."""
    one = recipe.batch_size == 1 and model.device.type == "cuda"
    if plan is None or not one or not records(recipe, compiled=plan.compile):
        return None
    return Recorder(list(adapted.parameters.values()), note)


def load_with_loras(
    model: ZImageModel, plan: FastPlan, loras: Sequence[WornLora], shelf: Shelf | None = None
) -> AdaptedTransformer:
    """The fast transformer with all LoRAs at their weights; several on one linear become one of the summed rank.

    Raises InputError for LoRAs that it cannot have.
    """
    require_covered(FAST_NAMES, loras)
    worn = stacked_plan(loras, model.dtype)
    fast = take_fast(shelf, model.kept_as(plan), partial(_fast, model, plan), worn)
    fill_stacked(fast.lora, loras)
    return with_lora(fast, worn.ranks, worn.scales)


def head_width(model: ZImageModel) -> int:
    """Channels of an attention head."""
    config = transformer_config(model.folder)
    return int(config["dim"]) // int(config["n_heads"])


def _fast(model: ZImageModel, plan: FastPlan, adapters: AdapterPlan) -> FastZImage:
    source = FolderSource(model.folder / "transformer", model.device, model.dtype)
    return FastZImage(transformer_config(model.folder), source, plan, adapters)
