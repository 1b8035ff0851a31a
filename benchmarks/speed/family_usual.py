"""The usual way to train a LoRA of a family: diffusers' own transformer with PEFT, in bfloat16, by autocast.

One process step: forward, backward, clipping and AdamW on one fixed batch of 1024 x 1024 with random weights. Text and pictures are encoded
before training and are no part of it.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.speed.rehearsal_bases import Z_IMAGE, ZImageSizes
from benchmarks.speed.rehearsal_klein import KLEIN_4B, KleinSizes
from flenwheel_core.kernels.attention import learn_through_other_modules

RANK = 16
TEXT_TOKENS = 512
GIB = 2**30
Inputs = Mapping[str, Any]


@dataclass(frozen=True)
class UsualCase:
    """A family's transformer, and what a step gives it."""

    build: Callable[[], torch.nn.Module]
    """Made on the device of the context it is called in."""
    inputs: Callable[[torch.device, torch.dtype], Inputs]
    targets: tuple[str, ...]
    """Endings of the linears that get an adapter."""


def klein(*, references: int, side: int = 64, sizes: KleinSizes = KLEIN_4B) -> UsualCase:
    """FLUX.2 klein; `side` tokens along each edge of the picture and of each reference."""

    def inputs(device: torch.device, dtype: torch.dtype) -> Inputs:
        places = [
            (10 * picture, y, x, 0) for picture in range(1 + references) for y in range(side) for x in range(side)
        ]
        return {
            "hidden_states": _random(device, dtype, 1, len(places), 4 * sizes.latents),
            "encoder_hidden_states": _random(device, dtype, 1, TEXT_TOKENS, 3 * sizes.text.width),
            "timestep": torch.full((1,), 0.6, device=device),
            "img_ids": torch.tensor(places, device=device),
            "txt_ids": torch.tensor([(0, 0, 0, place) for place in range(TEXT_TOKENS)], device=device),
        }

    targets = ("to_q", "to_k", "to_v", "to_out.0", "to_qkv_mlp_proj", "attn.to_out", "linear_in", "linear_out")
    return UsualCase(sizes.transformer, inputs, targets)


def z_image(*, side: int = 128, sizes: ZImageSizes = Z_IMAGE) -> UsualCase:
    """Z-Image; `side` latents along each edge."""

    def inputs(device: torch.device, dtype: torch.dtype) -> Inputs:
        return {
            "x": [_random(device, dtype, 16, 1, side, side)],
            "t": torch.full((1,), 0.4, device=device),
            "cap_feats": [_random(device, dtype, TEXT_TOKENS // 4, sizes.text.width)],
        }

    return UsualCase(sizes.transformer, inputs, ("to_q", "to_k", "to_v", "to_out.0", "w1", "w2", "w3"))


CASES: dict[tuple[str, str], UsualCase] = {
    ("FLUX.2", "train"): klein(references=0),
    ("FLUX.2", "edit_train"): klein(references=1),
    ("Z-Image", "train"): z_image(),
}
"""By family and stage."""


def usual_step(
    case: UsualCase, device: torch.device, *, checkpointed: bool, compiled: bool
) -> Callable[[], torch.Tensor]:
    """One step of training; `compiled` compiles each block by itself, `checkpointed` computes blocks again in the backward pass."""
    from peft import LoraConfig

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    with torch.device("meta"):
        model: Any = case.build()
    model = model.to(dtype).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(1)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.normal_(generator=generator, std=0.02)
    model.requires_grad_(False)
    model.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=_adapted(model, case.targets)))
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.data = parameter.data.float()
    if checkpointed:
        model.enable_gradient_checkpointing()
    if compiled:
        model.compile_repeated_blocks(fullgraph=False)
    model.train()
    learn_through_other_modules()  # with cuDNN's attention the compiled step of FLUX.2 ends in an illegal access
    optimizer = torch.optim.AdamW(parameters, lr=1e-6, fused=device.type == "cuda")
    inputs = case.inputs(device, dtype)

    def step() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            made = model(**inputs, return_dict=False)[0]
        loss = (made[0] if isinstance(made, list) else made).float().square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        lost: torch.Tensor = loss.detach()
        return lost

    return step


def seconds_of(step: Callable[[], torch.Tensor], device: torch.device, *, steps: int = 8) -> tuple[float, float | None]:
    """Median seconds of a step behind the third, and the peak of reserved memory in GiB (None off the card)."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(3 + steps if cuda else 1):
        began = time.monotonic()
        step()
        if cuda:
            torch.cuda.synchronize()
        times.append(time.monotonic() - began)
    return statistics.median(times[3:] or times), torch.cuda.max_memory_reserved() / GIB if cuda else None


def forget() -> None:
    """Gives memory of a finished case back."""
    gc.collect()
    torch._dynamo.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _adapted(model: torch.nn.Module, endings: tuple[str, ...]) -> list[str]:
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.endswith(endings) and "embed" not in name
    ]


def _random(device: torch.device, dtype: torch.dtype, *shape: int) -> torch.Tensor:
    generator = torch.Generator(device).manual_seed(sum(shape))
    made: torch.Tensor = torch.randn(shape, device=device, generator=generator, dtype=torch.float32)
    return made.to(dtype)
