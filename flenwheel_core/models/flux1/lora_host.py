"""What a FLUX transformer can wear: its linears, and what BFL's layout, kohya's trainer and XLabs call them."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from flenwheel_core.adapters.lora_reading import LoraHost
from flenwheel_core.adapters.targets import ModelLinears
from flenwheel_core.models.flux1.adapter import TARGETS, linear_shapes_of
from flenwheel_core.models.flux1.bfl_layout import DOUBLE, DOUBLE_FUSED, OUTER, SINGLE, SINGLE_FUSED

FAMILY = "FLUX.1"
_XLABS_DOUBLE = {
    "processor_qkv_lora1": DOUBLE_FUSED["img_attn_qkv"],
    "processor_qkv_lora2": DOUBLE_FUSED["txt_attn_qkv"],
    "processor_proj_lora1": ("attn.to_out.0",),
    "processor_proj_lora2": ("attn.to_add_out",),
}
_XLABS_SINGLE = {"processor_qkv_lora": ("attn.to_q", "attn.to_k", "attn.to_v")}


def flux_host(folder: Path) -> LoraHost:
    """The transformer of a FLUX folder, by its configuration; nothing is loaded."""
    return _host((folder / "transformer" / "config.json").read_text())


@cache
def _host(config: str) -> LoraHost:
    linears = linear_shapes_of(json.loads(config))
    fused = {name: parts for name, parts in _fused(linears) if all(part in linears for part in parts)}
    return LoraHost(FAMILY, linears, fused)


def _fused(linears: Mapping[str, tuple[int, int]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield from ((name, (module,)) for module, name in OUTER.items())
    double = {**{target: (part,) for part, target in DOUBLE.items()}, **DOUBLE_FUSED, **_XLABS_DOUBLE}
    single = {**{target: (part,) for part, target in SINGLE.items()}, **SINGLE_FUSED, **_XLABS_SINGLE}
    for stem, short, table in (
        ("transformer_blocks", "double", double),
        ("single_transformer_blocks", "single", single),
    ):
        for index in sorted({int(name.split(".")[1]) for name in linears if name.startswith(f"{stem}.")}):
            for target, parts in table.items():
                yield f"{short}_blocks_{index}_{target}", tuple(f"{stem}.{index}.{part}" for part in parts)


def model_linears(folder: Path) -> ModelLinears:
    """What a LoRA may sit on in the transformer of a FLUX folder; nothing is loaded."""
    return ModelLinears(flux_host(folder).linears, TARGETS)
