"""The fast transformer with LoRAs, for drawing on a card: fp8 where it fits, blocks compiled. Equality with diffusers is tested."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from flenwheel_core.families.flux.fast import AdapterPlan, FastPlan
from flenwheel_core.families.flux.lora_load import fill_stacked, summed_ranks
from flenwheel_core.families.flux.sources import FolderSource
from flenwheel_core.families.lora_reading import WornLora
from flenwheel_core.families.qwen_edit.fast import FastQwen, fast_names
from flenwheel_core.families.qwen_edit.loading import FP8_CAPABILITY, QwenEditModel
from flenwheel_core.training.attention import cudnn_attention_works
from flenwheel_core.training.storage import Storage

if TYPE_CHECKING:
    from flenwheel_core.domain.stages import EditorStorage

DRAWING_STORAGE: "dict[EditorStorage, Storage]" = {"bf16": "dense", "fp8": "fp8", "nf4": "nf4"}
_SMALLEST_WIDTH = 2048
"""Compiling a narrower transformer takes longer than all of its edits."""


def drawing_order(folder: Path) -> "tuple[EditorStorage, ...]":
    """Storages for drawing, the best first: fp8 is nearer to the real weights than NF4, and faster, where a card multiplies it."""
    multiplies = torch.cuda.is_available() and torch.cuda.get_device_capability() >= FP8_CAPABILITY
    return ("bf16", "fp8", "nf4") if multiplies and _is_covered(transformer_config(folder)) else ("bf16", "nf4")


def fast_plan(model: QwenEditModel) -> FastPlan | None:
    """How to draw with the fast transformer; None where diffusers' own is the better choice."""
    config = transformer_config(model.folder)
    if model.device.type != "cuda" or model.storage not in DRAWING_STORAGE or not _is_covered(config):
        return None
    storage = DRAWING_STORAGE[model.storage]
    return FastPlan(storage, storage, cudnn=cudnn_attention_works(model.device, int(config["attention_head_dim"])))


def load_fast(model: QwenEditModel, plan: FastPlan, loras: Sequence[WornLora]) -> FastQwen | None:
    """The transformer with all LoRAs at their weights: several on one linear become one of the summed rank.

    None if one is a DoRA, or sits where the fast transformer has no adapters: diffusers' own modules then wear it.
    """
    ranks = summed_ranks(loras)
    if any(lora.is_dora for lora in loras) or not all(name.endswith(fast_names()) for name in ranks):
        return None
    source = FolderSource(model.folder / "transformer", model.device, model.dtype)
    fast = FastQwen(transformer_config(model.folder), source, plan, AdapterPlan(ranks, dict.fromkeys(ranks, 1.0)))
    fill_stacked(fast.lora, loras)
    return fast


def transformer_config(folder: Path) -> dict[str, Any]:
    """The transformer's config.json in a model folder."""
    return dict(json.loads((folder / "transformer" / "config.json").read_text()))


def _is_covered(config: Mapping[str, Any]) -> bool:
    width = int(config["num_attention_heads"]) * int(config["attention_head_dim"])
    return width >= _SMALLEST_WIDTH and not config.get("zero_cond_t", False)
