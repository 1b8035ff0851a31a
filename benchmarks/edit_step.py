"""One training step of Qwen-Image-Edit at full size: seconds and memory, ours and the reference way, on this machine's card.

Weights are random in the real shapes: neither speed nor memory depends on their values. A step is forward, backward, clipping and
optimizer; target and one reference of the same size, prompts and pictures encoded before. The reference is diffusers' transformer in
bitsandbytes' NF4 with PEFT, every block recomputed, nothing compiled.

    python -m benchmarks.edit_step                                     # every case, about five minutes on an H200
    python -m benchmarks.edit_step --size tiny --out /tmp/results      # try the code on a CPU
"""

import argparse
import statistics
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.edit_world import (
    CONFIGS,
    RANK,
    build_fast,
    build_reference,
    clean,
    peak_reserved_gib,
    set_cap,
    sizes_of,
    synchronize,
    text_tokens,
)
from benchmarks.result_file import RESULTS, Row, write_result
from flenwheel_core.families.flux.fast import FastPlan
from flenwheel_core.families.qwen_edit.fast import FastQwen
from flenwheel_core.training.attention import cudnn_attention_works
from flenwheel_core.training.flow_matching import flow_loss

STEPS, WARMUP = 6, 2


def make_step(
    model: torch.nn.Module, parameters: list[torch.nn.Parameter], pixels: int, options: argparse.Namespace
) -> Callable[[], torch.Tensor]:
    """The step of the training loop on one fixed triplet."""
    sizes = sizes_of(pixels, size=options.size)
    device = parameters[0].device
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    generator = torch.Generator(device).manual_seed(2)
    tokens = sizes.target_tokens + sizes.reference_tokens
    width = CONFIGS[options.size]["joint_attention_dim"]
    inputs = {
        "hidden_states": torch.randn(1, tokens, 64, device=device, dtype=dtype, generator=generator),
        "timestep": torch.tensor([0.6], device=device, dtype=dtype),
        "encoder_hidden_states": torch.randn(
            1, text_tokens(pixels, size=options.size), width, device=device, dtype=dtype, generator=generator
        ),
        "img_shapes": [sizes.image_shapes()],
    }
    target = torch.randn(1, sizes.target_tokens, 64, device=device, generator=generator)
    optimizer = torch.optim.AdamW(parameters, lr=1e-6, fused=True)

    def step() -> torch.Tensor:
        prediction = model(**inputs, return_dict=False)[0][:, : sizes.target_tokens]
        loss = flow_loss(prediction, target).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def measure(step: Callable[[], torch.Tensor]) -> dict[str, float]:
    """Median seconds after the warmup, seconds of the first step, peak memory of all of it."""
    began = time.monotonic()
    step()
    synchronize()
    first = time.monotonic() - began
    for _ in range(WARMUP - 1):
        step()
    synchronize()
    times = []
    for _ in range(STEPS):
        began = time.monotonic()
        loss = step()
        synchronize()
        times.append(time.monotonic() - began)
    return {
        "step_seconds": statistics.median(times),
        "first_step_seconds": first,
        "peak_reserved_gib": peak_reserved_gib(),
        "loss": float(loss),
    }


def measured(model: FastQwen, pixels: int, options: argparse.Namespace) -> dict[str, float | bool]:
    """With compiled blocks, or without if the compiler fails; the row says which."""
    parameters = list(model.lora.values())
    clean()
    try:
        return {**measure(make_step(model, parameters, pixels, options)), "compiled": options.compile}
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception:
        traceback.print_exc()
        model.run_eagerly()
        clean()
        return {**measure(make_step(model, parameters, pixels, options)), "compiled": False}


def main() -> None:
    """Writes the result file after every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=list(CONFIGS), default="full")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no further case after so long")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    options = parser.parse_args()
    began, rows = time.monotonic(), list[Row]()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    options.compile = options.compile and device.type == "cuda"
    cudnn = cudnn_attention_works(device, 128)
    config = CONFIGS[options.size]
    layers = int(config["num_layers"])

    def keep(case: str, row: dict[str, float | bool], pixels: int, **facts: str | float | int | None) -> None:
        rows.append({"case": case, "pixels": pixels, "batch": 1, "rank": RANK, **facts, **row})
        print(f"[{time.monotonic() - began:6.1f}] {rows[-1]}", flush=True)
        write_result("edit_step", rows, folder=options.out)

    set_cap(24.0)
    storage = "nf4" if device.type == "cuda" else "dense"
    plan = FastPlan(storage, storage, compile=options.compile, cudnn=cudnn, recompute_double=layers)
    model = build_fast(config, device, plan, adapters=True)
    facts = {"storage": storage, "recomputed_blocks": layers, "cap_gib": 24.0, "cudnn": cudnn}
    keep("ours_24gib_1mp", measured(model, 1024, options), 1024, **facts)
    set_cap(None)
    facts["cap_gib"] = None
    keep("ours_1mp", measured(model, 1024, options), 1024, **facts)
    for pixels in (768, 512):
        keep(f"ours_{pixels}", measured(model, pixels, options), pixels, **facts)
    del model
    clean()
    if time.monotonic() - began < options.seconds:
        reference = build_reference(config, device, adapters=True)
        reference.enable_gradient_checkpointing()  # type: ignore[operator]
        reference.train()
        parameters = [parameter for parameter in reference.parameters() if parameter.requires_grad]
        for pixels in (1024, 768):
            clean()
            row = measure(make_step(reference, parameters, pixels, options))
            case = f"reference_nf4_ckpt_eager_{'1mp' if pixels == 1024 else pixels}"
            keep(case, {**row, "compiled": False}, pixels, storage=storage, recomputed_blocks=layers)


if __name__ == "__main__":
    main()
