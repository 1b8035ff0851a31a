"""The fast transformer with LoRAs, for drawing on a card: fp8 where it fits, blocks compiled. Equality with diffusers is tested."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from flenwheel_core.families.flux.fast import AdapterPlan, FastPlan
from flenwheel_core.families.flux.lora_load import Matrices, fill_stacked, summed_ranks
from flenwheel_core.families.flux.sources import FolderSource
from flenwheel_core.families.protocols import LoraFile
from flenwheel_core.families.qwen_edit.fast import FastQwen, fast_names
from flenwheel_core.families.qwen_edit.loading import FP8_CAPABILITY, QwenEditModel
from flenwheel_core.training.attention import cudnn_attention_works
from flenwheel_core.training.storage import Storage

if TYPE_CHECKING:
    from flenwheel_core.domain.stages import EditorStorage

DRAWING_STORAGE: "dict[EditorStorage, Storage]" = {"bf16": "dense", "fp8": "fp8", "nf4": "nf4"}
_PREFIX = "transformer."
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


def load_fast(model: QwenEditModel, plan: FastPlan, loras: Sequence[LoraFile]) -> FastQwen | None:
    """The transformer with all LoRAs at their weights: several on one linear become one of the summed rank.

    None if a LoRA sits where the fast transformer has no adapters, or is none that diffusers knows: diffusers' own modules then
    load it, or say why they can't.
    """
    files = [(_matrices(lora), lora.weight) for lora in loras]
    ranks = summed_ranks(files)
    if not all(matrices for matrices, _ in files) or not all(name.endswith(fast_names()) for name in ranks):
        return None
    source = FolderSource(model.folder / "transformer", model.device, model.dtype)
    fast = FastQwen(transformer_config(model.folder), source, plan, AdapterPlan(ranks, dict.fromkeys(ranks, 1.0)))
    fill_stacked(fast.lora, files)
    return fast


def transformer_config(folder: Path) -> dict[str, Any]:
    """The transformer's config.json in a model folder."""
    return dict(json.loads((folder / "transformer" / "config.json").read_text()))


def _is_covered(config: Mapping[str, Any]) -> bool:
    width = int(config["num_attention_heads"]) * int(config["attention_head_dim"])
    return width >= _SMALLEST_WIDTH and not config.get("zero_cond_t", False)


def _matrices(lora: LoraFile) -> Matrices:
    """A LoRA file in any layout that diffusers knows; empty for one it does not know."""
    from diffusers.loaders.lora_pipeline import QwenImageLoraLoaderMixin

    try:
        state, metadata = QwenImageLoraLoaderMixin.lora_state_dict(lora.path, return_lora_metadata=True)
    except (ValueError, LookupError, RuntimeError, OSError):
        return {}
    found: Matrices = {}
    for name, a in state.items():
        if name.endswith(".lora_A.weight"):
            module = name.removeprefix(_PREFIX).removesuffix(".lora_A.weight")
            b = state[name.replace("lora_A", "lora_B")].float()
            found[module] = (a.float(), b * _scale(module, a.shape[0], metadata or {}))
    return found


def _scale(module: str, rank: int, metadata: Mapping[str, Any]) -> float:
    """alpha / rank of the file's PEFT configuration; 1 where it says nothing (diffusers folds other trainers' alphas into A and B)."""
    if f"{_PREFIX}lora_alpha" not in metadata:
        return 1.0
    patterns: Mapping[str, float] = metadata.get(f"{_PREFIX}alpha_pattern") or {}
    own = [value for pattern, value in patterns.items() if module.endswith(pattern.removeprefix("^").replace("\\", ""))]
    alpha = float(own[-1] if own else metadata[f"{_PREFIX}lora_alpha"])
    return alpha / (rank**0.5 if metadata.get(f"{_PREFIX}use_rslora") else rank)
