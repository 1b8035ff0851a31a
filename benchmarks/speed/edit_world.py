"""Qwen-Image-Edit's shapes, with random weights and inputs, for the benchmarks; and diffusers' own transformer in the same shapes."""

import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.flux_reference import quantise
from flenwheel_core.models.qwen_image.conditioning import EditSizes
from flenwheel_core.models.qwen_image.fast import FAST_NAMES, FastQwen
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan
from flenwheel_core.transformer.sources import RandomSource

GIB = 2**30
RANK = 16
_FULL: dict[str, Any] = {
    "patch_size": 2,
    "in_channels": 64,
    "out_channels": 16,
    "num_layers": 60,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 3584,
    "guidance_embeds": False,
    "axes_dims_rope": (16, 56, 56),
}
CONFIGS: dict[str, dict[str, Any]] = {
    "full": _FULL,
    "tiny": {**_FULL, "num_layers": 2, "num_attention_heads": 2, "joint_attention_dim": 64},
}
TEXT_TOKENS = {1024: 1300, 768: 800, 512: 400}
"""Prompt tokens with the picture's own, at the first revision's picture sizes."""


def sizes_of(pixels: int, *, size: str) -> EditSizes:
    """A square edit with one reference. Tiny pictures for trying the code on a CPU."""
    side = pixels if size == "full" else pixels // 8
    return EditSizes(target=(side, side), references=((side, side),), shown=((side, side),))


def text_tokens(pixels: int, *, size: str) -> int:
    return TEXT_TOKENS[pixels] if size == "full" else 24


def source_of(config: Mapping[str, Any], device: torch.device, dtype: torch.dtype) -> RandomSource:
    """Random weights; the same for every storage, because they are asked for in the same order."""
    from diffusers import QwenImageTransformer2DModel

    with torch.device("meta"):
        model = QwenImageTransformer2DModel.from_config(dict(config))
    return RandomSource({name: tensor.shape for name, tensor in model.state_dict().items()}, device, dtype)


def adapter_names(config: Mapping[str, Any]) -> list[str]:
    """The linears of both streams' attention and MLP."""
    return [
        f"transformer_blocks.{index}{ending}" for index in range(int(config["num_layers"])) for ending in FAST_NAMES
    ]


def build_fast(config: Mapping[str, Any], device: torch.device, plan: FastPlan, *, adapters: bool) -> FastQwen:
    """Ours, with random weights; B of the adapters is not zero, so that every gradient is alive."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    names = adapter_names(config) if adapters else []
    chosen = AdapterPlan(dict.fromkeys(names, RANK), dict.fromkeys(names, 1.0))
    model = FastQwen(config, source_of(config, device, dtype), plan, chosen)
    generator = torch.Generator(device).manual_seed(1)
    with torch.no_grad():
        for name in sorted(model.lora):
            parameter = model.lora[name]
            parameter.normal_(generator=generator, std=0.02 if "lora_B" in name else parameter.shape[1] ** -0.5)
    clean()
    return model


def build_reference(config: Mapping[str, Any], device: torch.device, *, adapters: bool) -> torch.nn.Module:
    """diffusers' transformer in bitsandbytes' NF4 (float32 and dense without a card), with PEFT's adapters if asked."""
    from diffusers import QwenImageTransformer2DModel
    from peft import LoraConfig

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    source = source_of(config, device, dtype)
    with torch.device("meta"):
        model = QwenImageTransformer2DModel.from_config(dict(config))
    positions = QwenImageTransformer2DModel.from_config({**config, "num_layers": 0}).pos_embed
    if device.type == "cuda":
        quantise(model, source, dtype)
    else:
        model.load_state_dict({name: source.tensor(name) for name in model.state_dict()}, assign=True)
    model.pos_embed = positions
    model.requires_grad_(False).eval()
    if adapters:
        model.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=adapter_names(config)))
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    clean()
    return model  # type: ignore[no-any-return]


def set_cap(gib: float | None) -> None:
    """Imitate a smaller card: an allocation beyond `gib` raises OutOfMemoryError."""
    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(1.0 if gib is None else gib * GIB / total)


def peak_reserved_gib() -> float:
    return torch.cuda.max_memory_reserved() / GIB if torch.cuda.is_available() else 0.0


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def clean() -> None:
    """Nothing that is not referred to stays on the card; the peak counts from here."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def profile(run: Callable[[], object], path: Path) -> None:
    """Where the card's time of one call goes, kernel by kernel, as a text file."""
    if not torch.cuda.is_available():
        return
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        run()
        torch.cuda.synchronize()
    table = profiler.key_averages().table(sort_by="self_cuda_time_total", row_limit=40, max_name_column_width=100)
    path.write_text(table)
