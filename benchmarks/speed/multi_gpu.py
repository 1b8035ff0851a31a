"""Data-parallel training of FLUX.1-dev's LoRA at full size: speed-up, and the same loss as on one card.

Every run sees the same global batch; each process takes its part, and gradients are averaged. The processes are started
here, one a card, as the stage `train` starts them.

    python -m benchmarks.speed.multi_gpu --cards 2 --global-batch 2
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.result_file import Row, write_result
from benchmarks.speed.flux_step import clip_and_step
from benchmarks.speed.flux_world import CONFIGS, RANK, FluxBatch, adapter_plan, make_batch, random_source
from flenwheel_core.engine.flow_matching import flow_loss
from flenwheel_core.engine.graphs import Recorder
from flenwheel_core.engine.team import Processes
from flenwheel_core.kernels.attention import cudnn_attention_works
from flenwheel_core.models.flux1.fast import FastFlux
from flenwheel_core.transformer.plan import FastPlan

STEPS = 12
SHARED = ("img_ids", "txt_ids")


def own_part(batch: FluxBatch, team: Processes) -> FluxBatch:
    """This process' rows of the global batch."""
    rows = slice(team.rank, None, team.size)
    inputs = {name: tensor if name in SHARED else tensor[rows] for name, tensor in batch.inputs.items()}
    return FluxBatch(inputs, batch.target[rows])


def member(arguments: argparse.Namespace) -> None:
    """One process of the team; the first one prints its row."""
    team = Processes(cpu=not torch.cuda.is_available())
    cuda = team.device.type == "cuda"
    config = CONFIGS[arguments.size]
    plan = FastPlan(
        storage="fp8",
        modulation="fp8",
        keep_transposed=True,
        compile=cuda,
        cudnn=cudnn_attention_works(team.device, 128),
    )
    source = random_source(config, team.device, torch.bfloat16 if cuda else torch.float32)
    model = FastFlux(config, source, plan, adapter_plan(config, RANK))
    generator = torch.Generator(team.device).manual_seed(1)
    parameters = [model.lora[name] for name in sorted(model.lora)]
    with torch.no_grad():
        for parameter in parameters:
            parameter.normal_(generator=generator, std=0.02)
    batch = own_part(
        make_batch(config, arguments.pixels, team.device, model.dtype, arguments.global_batch, varied=True), team
    )
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    recorder = Recorder(parameters, print) if cuda else None
    inputs = {**batch.inputs, "target": batch.target}

    def loss_of(target: torch.Tensor, **given: torch.Tensor) -> torch.Tensor:
        return flow_loss(model(**given)[0], target).mean()

    losses, seconds = [], []
    for _ in range(STEPS):
        began = time.monotonic()
        loss = loss_of(**inputs) if recorder is None else recorder.loss("loss", loss_of, inputs)
        loss.backward()
        team.mean_gradients(parameters)
        clip_and_step(parameters, optimizer)
        losses.append(float(team.mean(loss)))
        seconds.append(time.monotonic() - began)
    if team.rank == 0:
        row = {
            "case": f"processes{team.size}_batch{arguments.global_batch}_{arguments.pixels}",
            "processes": team.size,
            "global_batch": arguments.global_batch,
            "pixels": arguments.pixels,
            "step_seconds": statistics.median(seconds[3:]),
            "first_loss": losses[0],
            "last_loss": losses[-1],
        }
        print("row " + json.dumps(row), flush=True)
    team.leave()


def run(processes: int, arguments: argparse.Namespace) -> Row:
    """The row of a team of so many processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cards = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    named = cards.split(",") if cards else [str(index) for index in range(processes)]
    command = [sys.executable, "-m", "benchmarks.speed.multi_gpu", "--member", "--size", arguments.size]
    command += ["--global-batch", str(arguments.global_batch), "--pixels", str(arguments.pixels)]
    common = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": "0"}
    if not torch.cuda.is_available():
        common["GLOO_SOCKET_IFNAME"] = "lo"
    started = [
        subprocess.Popen(
            command,
            env=os.environ | common | {"RANK": str(rank), "CUDA_VISIBLE_DEVICES": named[rank]},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        return {"case": f"processes{processes}", "error": f"exit codes {[p.returncode for p in started]}"}
    found: Row = json.loads(next(line for line in outputs[0].splitlines() if line.startswith("row "))[4:])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cards", type=int, default=2)
    parser.add_argument("--global-batch", type=int, default=2)
    parser.add_argument("--pixels", type=int, default=1024)
    parser.add_argument("--size", default="full", choices=sorted(CONFIGS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--member", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.member:
        member(arguments)
        return
    rows: list[Row] = []
    for processes in (1, arguments.cards):
        rows.append(run(processes, arguments))
        print(rows[-1], flush=True)
        write_result("multi_gpu", rows, folder=arguments.out)
    if all("step_seconds" in row for row in rows):
        one, several = rows
        summary: Row = {
            "case": "comparison",
            "speed_up": float(one["step_seconds"] or 0) / float(several["step_seconds"] or 1),
            "loss_difference": abs(float(one["last_loss"] or 0) / float(several["last_loss"] or 1) - 1),
        }
        write_result("multi_gpu", [*rows, summary], folder=arguments.out)


if __name__ == "__main__":
    main()
