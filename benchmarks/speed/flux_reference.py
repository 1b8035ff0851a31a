"""The reference way to train: diffusers' transformer, PEFT, every block recomputed, nothing compiled.

As in diffusers' LoRA example (bf16) and its QLoRA recipe (NF4 by bitsandbytes), on the same linears as ours.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from benchmarks.speed.flux_world import RANK, adapter_names, make_batch, random_source
from flenwheel_core.engine.flow_matching import flow_loss


def reference_step(config: Mapping[str, Any], device: torch.device, *, quantised: bool) -> Callable[[], torch.Tensor]:
    """The step on one fixed 1024x1024 batch."""
    from diffusers import FluxTransformer2DModel
    from peft import LoraConfig

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    source = random_source(config, device, dtype)
    with torch.device("meta"):
        model = FluxTransformer2DModel.from_config(dict(config))
    if quantised:
        quantise(model, source, dtype)
    else:
        model.load_state_dict({name: source.tensor(name) for name in model.state_dict()}, assign=True)
    model.requires_grad_(False)
    model.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=adapter_names(config)))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    model.enable_gradient_checkpointing()
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-6, fused=True)
    batch = make_batch(config, 1024, device, dtype, 1)

    def step() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            prediction = model(**batch.inputs, return_dict=False)[0]
        loss = flow_loss(prediction, batch.target).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def quantise(model: torch.nn.Module, source: Any, dtype: torch.dtype) -> None:
    """Replace the blocks' linears by bitsandbytes' NF4 linears, one by one."""
    import bitsandbytes

    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and "transformer_blocks." in name:
            linear = bitsandbytes.nn.Linear4bit(
                module.in_features, module.out_features, compute_dtype=dtype, quant_type="nf4", device="meta"
            )
            weight = source.tensor(f"{name}.weight")
            linear.weight = bitsandbytes.nn.Params4bit(weight.cpu(), requires_grad=False, quant_type="nf4").to(
                weight.device
            )
            linear.bias = torch.nn.Parameter(source.tensor(f"{name}.bias"), requires_grad=False)
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, linear)
    rest = {name: source.tensor(name) for name, tensor in model.state_dict().items() if tensor.device.type == "meta"}
    model.load_state_dict(rest, assign=True, strict=False)
