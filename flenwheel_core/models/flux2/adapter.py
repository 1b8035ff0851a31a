"""A LoRA on FLUX.2: on the fast transformer where it covers the recipe, else on diffusers' own modules."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch

from flenwheel_core.adapters.lora_reading import WornLora
from flenwheel_core.adapters.lora_wearing import take_off, wear
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer, adapt_by_peft, adapter_scales, linear_names
from flenwheel_core.adapters.stacked import fill_stacked
from flenwheel_core.adapters.targets import lora_ranks
from flenwheel_core.base.errors import RecipeError
from flenwheel_core.documents.storages import WeightFormat
from flenwheel_core.engine.graphs import Recorder, records
from flenwheel_core.kernels.attention import cudnn_attention_works, learn_through_other_modules
from flenwheel_core.memory.card import multiplies_fp8
from flenwheel_core.models.card_plan import CardRoom
from flenwheel_core.models.flux2.fast import FAST_NAMES, FastFlux2
from flenwheel_core.models.flux2.loading import Flux2Model
from flenwheel_core.models.flux2.lora_host import linear_shapes_of
from flenwheel_core.models.flux2.memory import storage_of, training_memory
from flenwheel_core.models.flux2.names import TARGETS
from flenwheel_core.models.protocols import ModelSetup
from flenwheel_core.models.shelf import Shelf, take_fast
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe
from flenwheel_core.transformer.adapted import covers, require_covered, stacked_plan, start_matrices, with_lora
from flenwheel_core.transformer.plan import OTHER_MODULES, AdapterPlan, FastPlan
from flenwheel_core.transformer.shell import transformer_config
from flenwheel_core.transformer.sources import FolderSource

if TYPE_CHECKING:
    from diffusers import Flux2Transformer2DModel

    from flenwheel_core.documents.storages import EditorStorage
_FORMATS: "dict[WeightFormat, EditorStorage | None]" = {
    "auto": None,
    "float32": "bf16",
    "bf16": "bf16",
    "fp8": "fp8",
    "nf4": "nf4",
}


def put_on(transformer: "Flux2Transformer2DModel", recipe: LoraRecipe, *, seed: int) -> AdaptedTransformer:
    """diffusers' own modules with a new adapter."""
    return adapt_by_peft(transformer, lora_ranks(linear_names(transformer), recipe, TARGETS), recipe, seed=seed)


def can_be_fast(ranks: Mapping[str, int], recipe: LoraRecipe) -> bool:
    """True if FastFlux2 covers this adapter."""
    return covers(FAST_NAMES, ranks, recipe)


def adapt(
    model: Flux2Model,
    recipe: TrainingRecipe,
    *,
    tokens: int,
    seed: int,
    setup: ModelSetup,
) -> AdaptedTransformer:
    """A transformer with a new adapter, the way that fits the recipe and the card: fast, or diffusers' own modules.

    `tokens` are those of the largest step: pictures, references and text of the batch. The setup's storage goes before the
    recipe's weight_format. Raises ResourceError if no plan fits, RecipeError for a storage that this adapter cannot have; nothing is
    loaded before.
    """
    config = transformer_config(model.folder)
    ranks = lora_ranks(linear_shapes_of(config), recipe.lora, TARGETS)
    wanted = storage_wanted(recipe, setup.storage)
    plan = None
    if not can_be_fast(ranks, recipe.lora):
        if wanted not in (None, "bf16"):
            raise RecipeError(
                f"{wanted} weights cannot be combined with this adapter.",
                why="DoRA, dropout, and adapters on modulation or embedders train through diffusers' own modules.",
                remedy="Leave the storage to be chosen, or train attention and mlp only.",
            )
    elif model.budget_gib is not None:
        card = CardRoom(model.budget_gib, multiplies_fp8(model.device))
        chosen, line = training_memory(
            config,
            ranks,
            card,
            tokens=tokens,
            optimizer=recipe.optimizer,
            wanted=wanted,
            tighter=setup.memory_level,
        )
        setup.note(f"memory plan: {line} of {model.budget_gib:.1f} GiB")
        plan = FastPlan(
            storage=chosen.storage,
            keep_transposed=chosen.transposed,
            recompute=chosen.recompute,
            compile=recipe.compile is not False and not recipe.deterministic,
            cudnn=not recipe.deterministic and cudnn_attention_works(model.device, int(config["attention_head_dim"])),
        )
    elif wanted not in (None, "bf16"):
        plan = FastPlan(storage=storage_of(wanted), compile=False, cudnn=False)
        setup.note(f"memory plan: {wanted} weights, computed as on a card (slow here)")
    if plan is not None:
        setup.note(plan.kernel_line(model.device))
        return start_fast(model, plan, recipe.lora, seed=seed)
    adapted = put_on(model.load_transformer(), recipe.lora, seed=seed)
    if model.device.type == "cuda":
        setup.note(OTHER_MODULES)
        setup.note("this adapter trains through diffusers' own modules: slower, and every block is recomputed")
        learn_through_other_modules()
        cast(Any, adapted.transformer).enable_gradient_checkpointing()
    return adapted


def storage_wanted(recipe: TrainingRecipe, storage: "EditorStorage | None" = None) -> "EditorStorage | None":
    """What was asked for: the editor's storage, or the recipe's weight_format; None leaves it to the memory plan."""
    return storage or _FORMATS[recipe.weight_format]


def start_recorder(
    model: Flux2Model,
    recipe: TrainingRecipe,
    adapted: AdaptedTransformer,
    setup: ModelSetup,
    *,
    shapes: int | None = None,
) -> Recorder | None:
    """What runs steps as CUDA graphs, where that is possible."""
    fast = adapted.transformer
    if (
        model.device.type != "cuda"
        or not isinstance(fast, FastFlux2)
        or not records(recipe, compiled=fast.plan.compile)
    ):
        return None
    more = {} if shapes is None else {"shapes": shapes}
    return Recorder(list(adapted.parameters.values()), setup.note, **more)


def start_fast(model: Flux2Model, plan: FastPlan, recipe: LoraRecipe, *, seed: int) -> AdaptedTransformer:
    """The fast transformer with a new adapter, started as PEFT's is."""
    ranks = lora_ranks(linear_shapes_of(transformer_config(model.folder)), recipe, TARGETS)
    scales = adapter_scales(ranks, recipe)
    fast = _fast(model, plan, AdapterPlan(ranks, scales, torch.float32))
    return start_matrices(with_lora(fast, ranks, scales), seed=seed)


def load_with_loras(
    model: Flux2Model, plan: FastPlan, loras: Sequence[WornLora], shelf: Shelf | None = None
) -> AdaptedTransformer:
    """The fast transformer with all LoRAs at their weights; several on one linear become one of the summed rank.

    Raises InputError for LoRAs that it cannot have.
    """
    require_covered(FAST_NAMES, loras)
    worn = stacked_plan(loras, model.dtype)
    fast = take_fast(shelf, model.kept_as(plan), partial(_fast, model, plan), worn)
    fill_stacked(fast.lora, loras)
    return with_lora(fast, worn.ranks, worn.scales)


def load_plain(model: Flux2Model, loras: Sequence[WornLora], shelf: Shelf | None = None) -> "Flux2Transformer2DModel":
    """diffusers' own modules with all LoRAs at their weights."""
    transformer = model.load_transformer() if shelf is None else shelf.take(model.kept_as(), model.load_transformer)
    take_off(transformer)
    wear(transformer, loras)
    return transformer


def _fast(model: Flux2Model, plan: FastPlan, adapters: AdapterPlan) -> FastFlux2:
    source = FolderSource(model.folder / "transformer", model.device, model.dtype)
    return FastFlux2(transformer_config(model.folder), source, plan, adapters)
