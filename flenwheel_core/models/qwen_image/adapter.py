"""The LoRA on a Qwen-Image-Edit transformer: which linears, and the file it becomes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch

from flenwheel_core.adapters.lora_file import UiNames, lora_bytes, ui_facts
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer, adapt_by_peft, adapter_scales, linear_names
from flenwheel_core.adapters.targets import TargetNames, lora_ranks
from flenwheel_core.documents.storages import WeightFormat
from flenwheel_core.kernels.attention import cudnn_attention_works, learn_through_other_modules
from flenwheel_core.kernels.frozen_weights import Storage
from flenwheel_core.memory.training import MemoryPlan
from flenwheel_core.models.protocols import PLAIN_SETUP, ModelSetup
from flenwheel_core.models.qwen_image.fast import FAST_NAMES, FastQwen
from flenwheel_core.models.qwen_image.loading import QwenEditModel
from flenwheel_core.models.qwen_image.memory import plan_training, training_spec
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe
from flenwheel_core.transformer.adapted import start_matrices, with_lora
from flenwheel_core.transformer.plan import OTHER_MODULES, AdapterPlan, FastPlan
from flenwheel_core.transformer.shell import linear_shapes, transformer_config
from flenwheel_core.transformer.sources import FolderSource

if TYPE_CHECKING:
    from diffusers import QwenImageTransformer2DModel

    from flenwheel_core.documents.storages import EditorStorage

FAST_STORAGE: "dict[EditorStorage, Storage]" = {"bf16": "dense", "fp8": "fp8", "nf4": "nf4"}
STORAGE_OF_FORMAT: "dict[WeightFormat, EditorStorage | None]" = {
    "auto": None,
    "float32": "bf16",
    "bf16": "bf16",
    "fp8": "fp8",
    "nf4": "nf4",
}
"""The storage that a recipe's train.weight_format asks for; None leaves it to be chosen."""
TARGETS = TargetNames(
    groups={
        "attention": ("transformer_blocks.*.attn.*",),
        "mlp": ("transformer_blocks.*.img_mlp.net.*", "transformer_blocks.*.txt_mlp.net.*"),
        "modulation": ("transformer_blocks.*.img_mod.1", "transformer_blocks.*.txt_mod.1"),
        "embedders": ("img_in", "txt_in"),
    },
    blocks={"double": "transformer_blocks"},
)
"""Linears of both streams, picture and text."""
UI_NAMES = UiNames("qwen-image-edit/lora", "qwen_image_edit", "networks.lora_qwen_image")


def linear_shapes_of(config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of all linears of a Qwen-Image transformer with this configuration, by name."""
    from diffusers import QwenImageTransformer2DModel

    return linear_shapes(QwenImageTransformer2DModel, config)


def put_on(transformer: "QwenImageTransformer2DModel", recipe: LoraRecipe, *, seed: int) -> AdaptedTransformer:
    """The transformer with float32 adapters; quantised linears stay as they are."""
    return adapt_by_peft(transformer, lora_ranks(linear_names(transformer), recipe, TARGETS), recipe, seed=seed)


def trains_fast(ranks: Mapping[str, int], recipe: TrainingRecipe, storage: "EditorStorage") -> bool:
    """True if the fast transformer covers this training on a card; else diffusers' own modules do it."""
    covered = all(name.endswith(FAST_NAMES) for name in ranks) and not recipe.lora.dora and recipe.lora.dropout == 0
    return covered and recipe.batch_size == 1 and storage in FAST_STORAGE


def adapt(
    model: QwenEditModel, recipe: TrainingRecipe, tokens: int, *, seed: int, setup: ModelSetup = PLAIN_SETUP
) -> AdaptedTransformer:
    """The model's transformer with a new adapter: the fast one on a card, where it covers the recipe, else diffusers' own.

    `tokens` are those of the largest step: target, references and prompt. The fast one recomputes what the card's memory asks
    for; diffusers' own recomputes every block if its weights are quantised.
    """
    config = transformer_config(model.folder)
    ranks = lora_ranks(linear_shapes_of(config), recipe.lora, TARGETS)
    chosen = _memory_plan(model, recipe, tokens, setup.memory_level)
    if chosen is not None:
        spec = training_spec(config, weights_gib=model.weights_gib("transformer"))
        setup.note(f"memory plan: {chosen.describe(spec)} of {model.budget_gib:.1f} GiB")
        plan = FastPlan(
            storage=FAST_STORAGE[model.storage],
            modulation=FAST_STORAGE[model.storage],
            recompute=chosen.recompute,
            compile=recipe.compile is not False and not recipe.deterministic,
            cudnn=not recipe.deterministic and cudnn_attention_works(model.device, int(config["attention_head_dim"])),
        )
        setup.note(plan.kernel_line(model.device))
        adapted = start_fast(model, config, plan, ranks, adapter_scales(ranks, recipe.lora), seed=seed)
        cast(FastQwen, adapted.transformer).keep_attention = chosen.attention_kept
        return adapted
    transformer = model.load_transformer()
    if model.device.type == "cuda":
        setup.note(OTHER_MODULES)
        learn_through_other_modules()
        if model.storage != "bf16" or setup.memory_level > 0:
            transformer.enable_gradient_checkpointing()
    transformer.train()
    return put_on(transformer, recipe.lora, seed=seed)


def require_room(model: QwenEditModel, recipe: TrainingRecipe, tokens: int, memory_level: int) -> None:
    """Raises ResourceError, before anything loads, if not even `tokens` a step can be trained on; the prompt's come on top."""
    _memory_plan(model, recipe, tokens, memory_level)


def _memory_plan(model: QwenEditModel, recipe: TrainingRecipe, tokens: int, memory_level: int) -> MemoryPlan | None:
    """How the fast transformer trains within the card; None where diffusers' own modules do it, or on a CPU."""
    config = transformer_config(model.folder)
    linears = linear_shapes_of(config)
    ranks = lora_ranks(linears, recipe.lora, TARGETS)
    if model.budget_gib is None or not trains_fast(ranks, recipe, model.storage):
        return None
    return plan_training(
        training_spec(config, weights_gib=model.weights_gib("transformer")),
        storage=FAST_STORAGE[model.storage],
        adapter_weights=sum(rank * sum(linears[name]) for name, rank in ranks.items()),
        tokens=tokens,
        optimizer=recipe.optimizer,
        usable_gib=model.budget_gib,
        memory_level=memory_level,
    )


def start_fast(
    model: QwenEditModel,
    config: Mapping[str, Any],
    plan: FastPlan,
    ranks: Mapping[str, int],
    scales: Mapping[str, float],
    *,
    seed: int,
) -> AdaptedTransformer:
    """The fast transformer with a new adapter, started as PEFT's is."""
    source = FolderSource(model.folder / "transformer", model.device, model.dtype)
    fast = FastQwen(config, source, plan, AdapterPlan(ranks, scales))
    return start_matrices(with_lora(fast, ranks, scales), seed=seed)


def lora_file(
    weights: Mapping[str, torch.Tensor],
    adapted: AdaptedTransformer,
    *,
    name: str,
    base: str,
    rank: int,
    steps: int,
    triplets: int,
    run: str,
    dtype: torch.dtype = torch.float32,
) -> bytes:
    """The safetensors file, in diffusers/PEFT names, with the facts that UIs show. Nothing in it is dated."""
    facts = ui_facts(UI_NAMES, name=name, base=base, rank=rank, steps=steps, images=triplets)
    facts |= {"flenwheel.request": run, "flenwheel.base": base}
    return lora_bytes(weights, adapted, facts, dtype=dtype)
