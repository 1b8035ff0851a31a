"""A LoRA that was learned here on transformers' own network: put on by PEFT, on exactly the linears that its file names."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from flenwheel_core.adapters.lora_header import read_header, refused
from flenwheel_core.adapters.peft_adapter import ADAPTER, adapter_config
from flenwheel_core.base.whole_files import write_atomically
from flenwheel_core.engine.tensor_file import read_tensors, tensor_bytes
from flenwheel_core.models.qwen_vl.geometry import ADAPTED
from flenwheel_core.recipes.train import LoraRecipe

PEFT_PREFIX = "base_model.model."


def wear(network: Any, path: Path, *, weight: float = 1.0) -> dict[str, torch.nn.Parameter]:
    """Puts the LoRA in a file on the network, frozen and in float32, and gives its matrices by PEFT's names.

    Raises InputError for a file that is no LoRA of this network's language layers.
    """
    from peft import inject_adapter_in_model

    read_header(path)
    tensors = {name.removeprefix(PEFT_PREFIX): tensor for name, tensor in read_tensors(path)[0].items()}
    ranks = {name.removesuffix(".lora_A.weight"): len(a) for name, a in tensors.items() if ".lora_A." in name}
    shapes = {name: module for name, module in network.named_modules() if name in ranks}
    for name in ranks:
        if ADAPTED.fullmatch(name) is None:
            raise refused(path.name, f"it sits on {name}, which is no language layer.")
        inputs, outputs = tensors[f"{name}.lora_A.weight"].shape[1], len(tensors[f"{name}.lora_B.weight"])
        if name not in shapes or (shapes[name].in_features, shapes[name].out_features) != (inputs, outputs):
            raise refused(path.name, f"this model has no {name} of its size.")
    rank = Counter(ranks.values()).most_common(1)[0][0]
    inject_adapter_in_model(adapter_config(ranks, LoraRecipe(rank=rank)), network, adapter_name=ADAPTER)
    worn = {name: p for name, p in network.named_parameters() if f".{ADAPTER}." in name}
    with torch.no_grad():
        for name, parameter in worn.items():
            parameter.data = parameter.data.float()
            tensor = tensors[name.replace(f".{ADAPTER}.", ".")]
            parameter.copy_(tensor * weight if ".lora_B." in name else tensor)
            parameter.requires_grad_(False)
    return worn


def change(worn: dict[str, torch.nn.Parameter], path: Path) -> None:
    """Another LoRA in place of the one that is worn. Raises InputError if its matrices are others."""
    read_header(path)
    tensors = {name.removeprefix(PEFT_PREFIX): tensor for name, tensor in read_tensors(path)[0].items()}
    wanted = {name.replace(f".{ADAPTER}.", "."): parameter for name, parameter in worn.items()}
    if {name: tensor.shape for name, tensor in tensors.items()} != {name: p.shape for name, p in wanted.items()}:
        raise refused(path.name, "its matrices are not those of the one that it replaces.")
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(tensors[name])


def write_peft_folder(lora: bytes, folder: Path, *, base: str) -> None:
    """The folder that `PeftModel.from_pretrained` opens, from a LoRA file of ours: the scale is in B, so that alpha is the rank."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "adapter_model.safetensors"
    write_atomically(file, lora)
    tensors, metadata = read_tensors(file)
    said = json.loads(metadata["lora_adapter_metadata"])
    described = {key.removeprefix(PEFT_PREFIX): value for key, value in said.items()}
    write_atomically(file, tensor_bytes(tensors, {"format": "pt"}))
    facts = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, **described}
    write_atomically(folder / "adapter_config.json", json.dumps(facts, indent=1, sort_keys=True).encode())
