"""The fast transformer with LoRAs, for drawing on a card: fp8 where it fits, blocks compiled. Equality with diffusers is tested."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from flenwheel_core.adapters.lora_reading import WornLora, adapter_weights
from flenwheel_core.adapters.stacked import fill_stacked, summed_ranks
from flenwheel_core.kernels.attention import cudnn_attention_works
from flenwheel_core.kernels.frozen_weights import Storage
from flenwheel_core.memory.card import GIB, multiplies_fp8
from flenwheel_core.memory.drawing import DrawingPlan, Largest, plan_drawing
from flenwheel_core.models.qwen_image.conditioning import EditSizes
from flenwheel_core.models.qwen_image.fast import FAST_NAMES, FastQwen
from flenwheel_core.models.qwen_image.loading import QwenEditModel
from flenwheel_core.models.qwen_image.memory import drawing_spec, plan_encoder
from flenwheel_core.models.shelf import Shelf, files_as_they_are, take_fast
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan
from flenwheel_core.transformer.shell import transformer_config
from flenwheel_core.transformer.sources import FolderSource

if TYPE_CHECKING:
    from flenwheel_core.documents.storages import EditorStorage

DRAWING_STORAGE: "dict[EditorStorage, Storage]" = {"bf16": "dense", "fp8": "fp8", "nf4": "nf4"}
PROMPT_TOKENS = 256
"""Room for the words of a prompt, beside its pictures."""
_SMALLEST_WIDTH = 2048
"""Compiling a narrower transformer takes longer than all of its edits."""


def drawing_order(model: QwenEditModel) -> "tuple[EditorStorage, ...]":
    """Storages for drawing, the best first: fp8 is nearer to the real weights than NF4, and faster, where a card multiplies it."""
    return storages_for_drawing(transformer_config(model.folder), fp8=multiplies_fp8(model.device))


def storages_for_drawing(config: Mapping[str, Any], *, fp8: bool) -> "tuple[EditorStorage, ...]":
    """As `drawing_order`, for a card that multiplies fp8 or not."""
    return ("bf16", "fp8", "nf4") if _is_covered(config) and fp8 else ("bf16", "nf4")


def choose_drawing(
    model: QwenEditModel,
    sizes: Sequence[EditSizes],
    loras: Sequence[WornLora],
    wanted: "EditorStorage | None",
    memory_level: int,
) -> tuple[QwenEditModel, DrawingPlan]:
    """The model in the storage that fits the largest of these edits with these LoRAs, and the plan.

    Raises ResourceError before anything loads if none does.
    """
    assert model.budget_gib is not None
    order = (wanted,) if wanted is not None else drawing_order(model)
    config, worn = transformer_config(model.folder), adapter_weights(loras)
    plan = drawing_memory(model.folder, config, sizes, worn, order, model.budget_gib, memory_level)
    encoder = plan_encoder(model.sizes_gib()["text_encoder"], model.budget_gib, memory_level)
    storage = _drawing_storages(order)[plan.storage]
    return replace(model, storage=storage, encoder=encoder), plan


def drawing_memory(
    folder: Path,
    config: Mapping[str, Any],
    sizes: Sequence[EditSizes],
    adapter_weights: int,
    order: "Sequence[EditorStorage]",
    usable_gib: float,
    memory_level: int = 0,
) -> DrawingPlan:
    """The memory plan of the largest of these edits. Raises ResourceError."""
    vae_gib = sum(path.stat().st_size for path in (folder / "vae").glob("*.safetensors")) / GIB
    return plan_drawing(
        drawing_spec(config, vae_gib=vae_gib),
        Largest(
            tokens=max(one.target_tokens + one.reference_tokens + one.shown_tokens for one in sizes) + PROMPT_TOKENS,
            pixels=max(one.target[0] * one.target[1] for one in sizes),
            adapter_weights=adapter_weights,
        ),
        usable_gib=usable_gib,
        storages=tuple(_drawing_storages(order)),
        memory_level=memory_level,
        what="Qwen-Image",
    )


def _drawing_storages(order: "Sequence[EditorStorage]") -> "dict[Storage, EditorStorage]":
    """The fast transformer's storages; int8, which only diffusers' modules have, is planned as fp8, which is as large."""
    fast: dict[Storage, EditorStorage] = {DRAWING_STORAGE[name]: name for name in order if name in DRAWING_STORAGE}
    return fast or {"fp8": "int8"}


def fast_plan(model: QwenEditModel) -> FastPlan | None:
    """How to draw with the fast transformer; None where diffusers' own is the better choice."""
    config = transformer_config(model.folder)
    if model.device.type != "cuda" or model.storage not in DRAWING_STORAGE or not _is_covered(config):
        return None
    storage = DRAWING_STORAGE[model.storage]
    return FastPlan(storage, storage, cudnn=cudnn_attention_works(model.device, int(config["attention_head_dim"])))


def load_fast(
    model: QwenEditModel, plan: FastPlan, loras: Sequence[WornLora], shelf: Shelf | None = None
) -> FastQwen | None:
    """The transformer with all LoRAs at their weights: several on one linear become one of the summed rank.

    None if one is a DoRA, or sits where the fast transformer has no adapters: diffusers' own modules then wear it.
    """
    ranks = summed_ranks(loras)
    if any(lora.is_dora for lora in loras) or not all(name.endswith(FAST_NAMES) for name in ranks):
        return None
    name = ("QwenImage", str(model.folder), files_as_they_are(model.folder / "transformer"), model.device, plan)

    def build(adapters: AdapterPlan) -> FastQwen:
        source = FolderSource(model.folder / "transformer", model.device, model.dtype)
        return FastQwen(transformer_config(model.folder), source, plan, adapters)

    fast = take_fast(shelf, name, build, AdapterPlan(ranks, dict.fromkeys(ranks, 1.0), torch.bfloat16))
    fill_stacked(fast.lora, loras)
    return fast


def _is_covered(config: Mapping[str, Any]) -> bool:
    width = int(config["num_attention_heads"]) * int(config["attention_head_dim"])
    return width >= _SMALLEST_WIDTH
