"""Data-parallel training of FLUX.1-dev's LoRA at full size: speed-up, and the same loss as on one card.

Every run sees the same global batch; each process takes its part, and gradients are averaged.

    accelerate launch --num_processes 1 -m benchmarks.multi_gpu --global-batch 2
    accelerate launch --num_processes 2 -m benchmarks.multi_gpu --global-batch 2
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from benchmarks.flux_world import CONFIGS, RANK, FluxBatch, adapter_plan, make_batch, random_source
from benchmarks.result_file import write_result
from flenwheel_core.families.flux.fast import FastFlux, FastPlan
from flenwheel_core.training.attention import cudnn_attention_works
from flenwheel_core.training.flow_matching import flow_loss
from flenwheel_core.training.team import Processes

STEPS = 12
SHARED = ("img_ids", "txt_ids")


def own_part(batch: FluxBatch, team: Processes) -> FluxBatch:
    """This process' rows of the global batch."""
    rows = slice(team.rank, None, team.size)
    inputs = {name: tensor if name in SHARED else tensor[rows] for name, tensor in batch.inputs.items()}
    return FluxBatch(inputs, batch.target[rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--global-batch", type=int, default=2)
    parser.add_argument("--pixels", type=int, default=1024)
    parser.add_argument("--size", default="full", choices=sorted(CONFIGS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    team = Processes(cpu=not torch.cuda.is_available())
    cuda = team.device.type == "cuda"
    dtype = torch.bfloat16 if cuda else torch.float32
    config = CONFIGS[arguments.size]
    plan = FastPlan(
        storage="fp8",
        modulation="fp8",
        keep_transposed=True,
        compile=cuda,
        cudnn=cudnn_attention_works(team.device, 128),
    )
    model = FastFlux(config, random_source(config, team.device, dtype), plan, adapter_plan(config, RANK))
    generator = torch.Generator(team.device).manual_seed(1)
    parameters = [model.lora[name] for name in sorted(model.lora)]
    with torch.no_grad():
        for parameter in parameters:
            parameter.normal_(generator=generator, std=0.02)
    whole = make_batch(config, arguments.pixels, team.device, model.dtype, arguments.global_batch)
    batch = own_part(whole, team)
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)
    losses, seconds = [], []
    for _ in range(STEPS):
        began = time.monotonic()
        loss = flow_loss(model(**batch.inputs)[0], batch.target).mean()
        loss.backward()
        team.mean_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(team.mean(loss)))
        seconds.append(time.monotonic() - began)
    if team.rank == 0:
        case = f"processes{team.size}_batch{arguments.global_batch}_{arguments.pixels}"
        path = arguments.out / "multi_gpu.json"
        rows = [r for r in json.loads(path.read_text())["rows"] if r["case"] != case] if path.exists() else []
        row = {
            "case": case,
            "processes": team.size,
            "global_batch": arguments.global_batch,
            "pixels": arguments.pixels,
            "step_seconds": statistics.median(seconds[3:]),
            "first_loss": losses[0],
            "last_loss": losses[-1],
        }
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_result("multi_gpu", [*rows, row], folder=arguments.out)
    if team.size > 1:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
