"""A finished LoRA file under the names of Black Forest Labs, as ComfyUI reads them: fused qkv, and `diffusion_model.` before every name."""

import re
from collections.abc import Mapping, Sequence

import torch
from safetensors.torch import load

from flenwheel_core.adapters.lora_file import PREFIX
from flenwheel_core.adapters.lora_header import file_metadata
from flenwheel_core.base.errors import InputError
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.models.flux2.names import BLOCKS, OUTER

_BEFORE = "diffusion_model."
_IN_BLOCK = re.compile(r"^(single_transformer_blocks|transformer_blocks)\.(\d+)\.(.+)$")


def to_bfl(data: bytes) -> bytes:
    """The same LoRA for ComfyUI and other tools. `data` is a file in diffusers' names, as training writes it: the scale is in B.

    Linears that are one in this layout get their parts' A stacked and a block-diagonal B; a part without adapter stays zero.
    Raises InputError for a LoRA that this layout cannot hold.
    """
    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in load(data).items()}
    modules = {name.removesuffix(".lora_A.weight") for name in tensors if name.endswith(".lora_A.weight")}
    found: dict[str, torch.Tensor] = {}
    for name, parts in _places(modules).items():
        found |= _together(f"{_BEFORE}{name}", parts, [part for part in parts if part in modules], tensors)
    metadata = {key: value for key, value in file_metadata(data).items() if key != "lora_adapter_metadata"}
    return tensor_bytes(found, metadata)


def _places(modules: set[str]) -> dict[str, tuple[str, ...]]:
    """BFL's linears that hold any of these, each with all of its parts."""
    outer = {module: name for name, module in OUTER.items()}
    tables = {stem: (theirs, table) for stem, theirs, table in BLOCKS}
    places: dict[str, tuple[str, ...]] = {}
    for module in sorted(modules):
        match = _IN_BLOCK.match(module)
        if match is not None:
            stem, index, part = match.groups()
            theirs, table = tables[stem]
            for name, parts in table.items():
                if part in parts:
                    places[f"{theirs}.{index}.{name}"] = tuple(f"{stem}.{index}.{one}" for one in parts)
        elif module in outer:
            places[outer[module]] = (module,)
        else:
            raise InputError(
                "This LoRA has no place in BFL's layout.",
                why=f"{module} has no name there.",
                remedy="Leave it out of train.lora.include.",
            )
    return places


def _together(
    name: str, parts: Sequence[str], present: Sequence[str], tensors: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The factors of one linear from those of its parts, which all have as many outputs."""
    ups = {part: tensors[f"{part}.lora_B.weight"] for part in present}
    outputs = next(iter(ups.values())).shape[0]
    rank = sum(up.shape[1] for up in ups.values())
    up, column = torch.zeros(len(parts) * outputs, rank), 0
    for row, part in enumerate(parts):
        if part in ups:
            end = column + ups[part].shape[1]
            up[row * outputs : (row + 1) * outputs, column:end] = ups[part]
            column = end
    made = {
        f"{name}.lora_A.weight": torch.cat([tensors[f"{part}.lora_A.weight"] for part in present]),
        f"{name}.lora_B.weight": up,
    }
    named = {key.partition(".lora_magnitude_vector")[0]: key for key in tensors if ".lora_magnitude_vector" in key}
    magnitudes = [tensors[named[part]] for part in parts if part in named]
    if magnitudes and len(magnitudes) < len(parts):
        raise InputError(
            "This DoRA has no place in BFL's layout.",
            why=f"{name} is one linear there, and only a part of it has magnitudes.",
            remedy="Train on all of attention and mlp, or without dora.",
        )
    if magnitudes:
        made[f"{name}.dora_scale"] = torch.cat([one.reshape(-1, 1) for one in magnitudes])
    return made
