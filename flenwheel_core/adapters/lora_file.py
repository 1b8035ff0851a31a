"""LoRA files that diffusers, ComfyUI and others load: names and metadata."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from flenwheel_core.adapters.peft_adapter import ADAPTER, AdaptedTransformer
from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.recipes.train import LoraRecipe

PREFIX = "transformer."


@dataclass(frozen=True)
class LoraFile:
    """A LoRA on this machine's disk."""

    path: Path
    weight: float


LoraFiles = tuple[LoraFile, ...]


@dataclass(frozen=True)
class UiNames:
    """What a family is called in the metadata that other programs show and go by."""

    architecture: str
    """`modelspec.architecture`, such as flux-1-dev/lora."""
    base_version: str
    """`ss_base_model_version`, as kohya's trainer writes it."""
    network_module: str
    """`ss_network_module`, likewise."""


def diffusers_tensors(
    weights: Mapping[str, torch.Tensor],
    scales: Mapping[str, float],
    *,
    dtype: torch.dtype = torch.float32,
    prefix: str = PREFIX,
) -> dict[str, torch.Tensor]:
    """Trained weights under the names that diffusers' `load_lora_weights` reads; with PEFT's prefix, those that PEFT reads.

    The scale goes into B, so that readers that know no alpha draw the same.
    """
    tensors = {}
    for name, tensor in weights.items():
        module, _, kind = name.rpartition(".lora_")
        plain = name.replace(f".{ADAPTER}.weight", ".weight").removesuffix(f".{ADAPTER}")
        factor = scales[module] if kind.startswith("B.") else 1.0
        tensors[prefix + plain] = (tensor.detach() * factor).to("cpu", dtype)
    return tensors


def file_dtype(recipe: LoraRecipe) -> torch.dtype:
    """How the recipe has the numbers of its LoRA file kept."""
    return torch.bfloat16 if recipe.file_format == "bf16" else torch.float32


def lora_bytes(
    weights: Mapping[str, torch.Tensor],
    adapted: AdaptedTransformer,
    facts: Mapping[str, str],
    *,
    dtype: torch.dtype = torch.float32,
    prefix: str = PREFIX,
) -> bytes:
    """The safetensors file of a LoRA, in diffusers/PEFT names; the same weights and facts give the same bytes."""
    tensors = diffusers_tensors(weights, adapted.scales, dtype=dtype, prefix=prefix)
    return lora_file_bytes(tensors, adapted.ranks, facts, prefix=prefix)


def lora_file_bytes(
    tensors: Mapping[str, torch.Tensor], ranks: Mapping[str, int], facts: Mapping[str, str], *, prefix: str = PREFIX
) -> bytes:
    """The file of matrices by the names that readers look for, the scale in B already; `ranks` by module, without the prefix."""
    rank = Counter(ranks.values()).most_common(1)[0][0]
    other = {f"^{re.escape(name)}": r for name, r in sorted(ranks.items()) if r != rank}
    described = {
        "r": rank,
        "lora_alpha": rank,
        "target_modules": sorted(ranks),
        "rank_pattern": other,
        "alpha_pattern": other,
        "use_dora": any("lora_magnitude_vector" in name for name in tensors),
    }
    metadata = {
        "format": "pt",
        "lora_adapter_metadata": json.dumps({prefix + k: v for k, v in described.items()}, sort_keys=True),
        **facts,
        "modelspec.hash_sha256": "0x" + digest_bytes(tensor_bytes(tensors)),
    }
    return tensor_bytes(tensors, metadata)


def ui_facts(
    names: UiNames,
    *,
    name: str,
    base: str,
    rank: int,
    steps: int,
    images: int,
    trigger: str | None = None,
    resolution: int | None = None,
) -> dict[str, str]:
    """The `modelspec.*` and `ss_*` keys that UIs show (stability.ai's modelspec; kohya's names). Nothing is dated."""
    facts = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": names.architecture,
        "modelspec.implementation": "https://github.com/huggingface/diffusers",
        "modelspec.title": name,
        "modelspec.prediction_type": "flow_matching",
        "ss_base_model_version": names.base_version,
        "ss_sd_model_name": base,
        "ss_network_module": names.network_module,
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(rank),
        "ss_output_name": name,
        "ss_steps": str(steps),
        "ss_num_train_images": str(images),
    }
    if resolution is not None:
        facts["modelspec.resolution"] = f"{resolution}x{resolution}"
        facts["ss_resolution"] = f"({resolution}, {resolution})"
    if trigger is not None:
        facts["modelspec.trigger_phrase"] = trigger
        facts["ss_tag_frequency"] = json.dumps({name: {trigger: images}})
    return facts
