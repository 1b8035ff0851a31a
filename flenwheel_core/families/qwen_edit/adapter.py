"""The LoRA on a Qwen-Image-Edit transformer: which linears, and the file it becomes."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch

from flenwheel_core.families.flux.adapter import AdaptedFlux, adapt_reference, adapter_scales, start_a
from flenwheel_core.families.flux.fast import AdapterPlan, FastPlan
from flenwheel_core.families.flux.lora_file import lora_bytes
from flenwheel_core.families.flux.sources import FolderSource
from flenwheel_core.families.flux.targets import lora_ranks
from flenwheel_core.families.protocols import WORKING, Working
from flenwheel_core.families.qwen_edit.fast import FastQwen, fast_names
from flenwheel_core.families.qwen_edit.loading import QwenEditModel
from flenwheel_core.families.qwen_edit.memory import plan_recompute
from flenwheel_core.recipes.train import LoraRecipe, LoraTarget, TrainingRecipe
from flenwheel_core.training.attention import cudnn_attention_works
from flenwheel_core.training.storage import Storage

if TYPE_CHECKING:
    from diffusers import QwenImageTransformer2DModel

    from flenwheel_core.domain.stages import EditorStorage

_FAST_STORAGE: "dict[EditorStorage, Storage]" = {"bf16": "dense", "fp8": "fp8", "nf4": "nf4"}
GROUPS: dict[LoraTarget, tuple[str, ...]] = {
    "attention": ("transformer_blocks.*.attn.*",),
    "mlp": ("transformer_blocks.*.img_mlp.net.*", "transformer_blocks.*.txt_mlp.net.*"),
    "modulation": ("transformer_blocks.*.img_mod.1", "transformer_blocks.*.txt_mod.1"),
    "embedders": ("img_in", "txt_in"),
}
"""Linears of both streams, picture and text."""


def put_on(transformer: "QwenImageTransformer2DModel", recipe: LoraRecipe, *, seed: int) -> AdaptedFlux:
    """The transformer with float32 adapters; quantised linears stay as they are."""
    return adapt_reference(transformer, _with_names(recipe), seed=seed)


def adapt(
    model: QwenEditModel, recipe: TrainingRecipe, tokens: int, *, seed: int, working: Working = WORKING
) -> AdaptedFlux:
    """The model's transformer with a new adapter: the fast one on a card, where it covers the recipe, else diffusers' own.

    `tokens` are those of the largest step: target, references and prompt. The fast one recomputes what the card's memory asks
    for; diffusers' own recomputes every block if its weights are quantised.
    """
    config = json.loads((model.folder / "transformer" / "config.json").read_text())
    linears = linear_shapes(config)
    ranks = lora_ranks(list(linears), _with_names(recipe.lora))
    covered = all(name.endswith(fast_names()) for name in ranks) and not recipe.lora.dora and recipe.lora.dropout == 0
    if model.budget_gib is not None and covered and recipe.batch_size == 1 and model.storage in _FAST_STORAGE:
        recompute = plan_recompute(
            config,
            weights_gib=model.weights_gib("transformer"),
            adapter_weights=sum(rank * sum(linears[name]) for name, rank in ranks.items()),
            tokens=tokens,
            usable_gib=model.budget_gib,
            memory_level=working.memory_level,
        )
        working.note(f"memory plan: {model.storage} weights, {recompute.describe()} of {model.budget_gib:.1f} GiB")
        plan = FastPlan(
            storage=_FAST_STORAGE[model.storage],
            modulation=_FAST_STORAGE[model.storage],
            recompute_double=recompute.blocks,
            compile=recipe.compile is not False,
            cudnn=cudnn_attention_works(model.device, int(config["attention_head_dim"])),
        )
        adapted = start_fast(model, config, plan, ranks, adapter_scales(ranks, recipe.lora), seed=seed)
        cast(FastQwen, adapted.transformer).keep_attention = recompute.attention_kept
        return adapted
    transformer = model.load_transformer()
    if model.device.type == "cuda" and (model.storage != "bf16" or working.memory_level > 0):
        transformer.enable_gradient_checkpointing()
    transformer.train()
    return put_on(transformer, recipe.lora, seed=seed)


def start_fast(
    model: QwenEditModel,
    config: Mapping[str, Any],
    plan: FastPlan,
    ranks: Mapping[str, int],
    scales: Mapping[str, float],
    *,
    seed: int,
) -> AdaptedFlux:
    """The fast transformer with a new adapter, started as PEFT's is."""
    source = FolderSource(model.folder / "transformer", model.device, model.dtype)
    fast = FastQwen(config, source, plan, AdapterPlan(ranks, scales))
    for name, parameter in fast.lora.items():
        if "lora_A" in name:
            start_a(name, parameter, seed=seed)
    return AdaptedFlux(fast, fast.lora, ranks, scales, fast.without_adapter)


def _with_names(recipe: LoraRecipe) -> LoraRecipe:
    """The recipe with this model's names in place of the groups of targets."""
    include = recipe.include or tuple(pattern for target in recipe.targets for pattern in GROUPS[target])
    return recipe.model_copy(update={"include": include})


def linear_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Names of all linears of a transformer with this configuration, with their outputs and inputs, without loading it."""
    from diffusers import QwenImageTransformer2DModel

    with torch.device("meta"):
        model = QwenImageTransformer2DModel.from_config(dict(config))
    return {
        name: (module.out_features, module.in_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def lora_file(
    weights: Mapping[str, torch.Tensor],
    adapted: AdaptedFlux,
    *,
    name: str,
    base: str,
    rank: int,
    steps: int,
    triplets: int,
    run: str,
) -> bytes:
    """The safetensors file, in diffusers/PEFT names, with the facts that UIs show. Nothing in it is dated."""
    facts = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "qwen-image-edit/lora",
        "modelspec.implementation": "https://github.com/huggingface/diffusers",
        "modelspec.title": name,
        "modelspec.prediction_type": "flow_matching",
        "ss_base_model_version": "qwen_image_edit",
        "ss_sd_model_name": base,
        "ss_network_module": "networks.lora_qwen_image",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(rank),
        "ss_output_name": name,
        "ss_steps": str(steps),
        "ss_num_train_images": str(triplets),
        "flenwheel.request": run,
        "flenwheel.base": base,
    }
    return lora_bytes(weights, adapted, facts)
