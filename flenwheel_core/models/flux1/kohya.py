"""A finished LoRA file in the layout of kohya's trainer, for ComfyUI and other tools."""

import json
import math

import torch
from safetensors.torch import load

from flenwheel_core.adapters.lora_file import PREFIX
from flenwheel_core.adapters.lora_header import file_metadata
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.models.flux1.bfl_layout import kohya_tensors

_MLP_RATIO = 4
_FROM_STREAM = ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj")


def to_kohya(data: bytes) -> bytes:
    """The same LoRA with fused qkv and BFL's block names. `data` is a file in diffusers/PEFT names, as training writes it.

    Raises InputError for a LoRA that this layout cannot hold.
    """
    tensors = load(data)
    metadata = file_metadata(data)
    adapter = {key.removeprefix(PREFIX): value for key, value in json.loads(metadata["lora_adapter_metadata"]).items()}
    weights = {
        name.removeprefix(PREFIX)
        .replace(".lora_A.weight", ".lora_A.default.weight")
        .replace(".lora_B.weight", ".lora_B.default.weight"): tensor
        for name, tensor in tensors.items()
    }
    modules = {
        name.removesuffix(".lora_A.default.weight") for name in weights if name.endswith(".lora_A.default.weight")
    }
    scales = {module: _scale(module, adapter) for module in modules}
    converted = kohya_tensors(weights, scales, _widths(weights))
    kept = {key: value for key, value in metadata.items() if key != "lora_adapter_metadata"}
    return tensor_bytes(converted, kept)


def _scale(module: str, adapter: dict[str, object]) -> float:
    def of(pattern_key: str, default_key: str) -> float:
        patterns = adapter[pattern_key]
        assert isinstance(patterns, dict)
        value = next(
            (value for name, value in patterns.items() if name in (module, f"^{module}$")), adapter[default_key]
        )
        return float(value)  # type: ignore[arg-type]

    rank, alpha = of("rank_pattern", "r"), of("alpha_pattern", "lora_alpha")
    return alpha / (math.sqrt(rank) if adapter.get("use_rslora") else rank)


class _Widths(dict[str, int]):
    """Outputs of every linear of a block, also of those without an adapter: all follow from the width of the stream."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def __missing__(self, module: str) -> int:
        return self.width * (_MLP_RATIO if module.endswith("proj_mlp") else 1)


def _widths(weights: dict[str, torch.Tensor]) -> _Widths:
    """The stream's width, read off any adapter that takes the stream as its input."""
    for name, tensor in weights.items():
        if ".lora_A." in name and name.split(".lora_A.")[0].endswith(
            (*(f"attn.{name}" for name in _FROM_STREAM), "proj_mlp", "ff.net.0.proj", "ff_context.net.0.proj")
        ):
            return _Widths(tensor.shape[1])
    outs = [
        tensor.shape[0]
        for name, tensor in weights.items()
        if (".lora_B." in name and "proj_out" in name) or "ff.net.2" in name
    ]
    if outs:
        return _Widths(outs[0])
    return _Widths(0)  # on no linear of the blocks: nothing is fused
