"""One training step of FLUX.1-dev at full size: seconds and memory, ours and the reference way, on this machine's card.

Weights are random in the real shapes: neither speed nor memory depends on their values. A step is forward, backward,
clipping and optimizer, run as the trainer runs it: blocks compiled, forward and backward recorded as a CUDA graph. Text and
pictures are encoded before training and are no part of it. Within a cap the trainer's own memory plan decides what is
recomputed, and an allocation beyond the cap fails. One run writes the whole file.

    python -m benchmarks.speed.flux_step --out benchmarks/results        # about five minutes on an H200
    python -m benchmarks.speed.flux_step --size tiny --out /tmp/try      # try the code on a CPU
"""

import argparse
import gc
import json
import statistics
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from benchmarks.result_file import Row, write_result
from benchmarks.speed.flux_reference import reference_step
from benchmarks.speed.flux_world import (
    CONFIGS,
    RANK,
    TEXT_TOKENS,
    FluxBatch,
    adapter_plan,
    adapter_weights,
    make_batch,
    random_source,
)
from flenwheel_core.engine.flow_matching import flow_loss
from flenwheel_core.engine.graphs import Recorder
from flenwheel_core.kernels.attention import cudnn_attention_works
from flenwheel_core.kernels.frozen_weights import Storage
from flenwheel_core.kernels.table import kernel_line
from flenwheel_core.memory.training import MemoryPlan, choose_plan
from flenwheel_core.models.flux1.fast import FastFlux
from flenwheel_core.models.flux1.memory import flux_spec
from flenwheel_core.transformer.plan import FastPlan

GIB = 2**30
Figures = dict[str, str | int | float | bool | None]


@dataclass
class Bench:
    """What the cases share: the card, the rows so far, the clock and the reference gradient."""

    size: str
    device: torch.device
    folder: Path
    limit_seconds: float
    began: float = field(default_factory=time.monotonic)
    rows: dict[str, Row] = field(default_factory=dict)
    gradients: dict[str, torch.Tensor] = field(default_factory=dict)
    compile: bool = True
    cudnn: bool = False

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def say(self, text: str) -> None:
        print(f"[{self.seconds():6.1f}] {text}", flush=True)

    def keep(self, case: str, row: Figures) -> None:
        self.rows[case] = {"case": case, **row}
        self.say(json.dumps(self.rows[case]))
        write_result("flux_step", list(self.rows.values()), folder=self.folder)

    def synchronize(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def clean(self) -> None:
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()

    def set_cap(self, gib: float | None) -> None:
        """Imitate a smaller card: an allocation beyond `gib` raises OutOfMemoryError."""
        if self.cuda:
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(1.0 if gib is None else gib * GIB / total)


def build(bench: Bench, plan: FastPlan) -> FastFlux:
    """A model with random weights; B of the adapters is not zero, so that every gradient is alive."""
    began = time.monotonic()
    dtype = torch.bfloat16 if bench.cuda else torch.float32
    config = CONFIGS[bench.size]
    plan = replace(plan, compile=bench.compile, cudnn=bench.cudnn)
    model = FastFlux(config, random_source(config, bench.device, dtype), plan, adapter_plan(config, RANK))
    generator = torch.Generator(bench.device).manual_seed(1)
    with torch.no_grad():
        for name in sorted(model.lora):
            scale = 0.02 if "lora_B" in name else model.lora[name].shape[1] ** -0.5
            model.lora[name].normal_(generator=generator, std=scale)
    bench.clean()
    allocated = torch.cuda.memory_allocated() / GIB if bench.cuda else 0.0
    bench.say(f"built {plan.storage}: {time.monotonic() - began:.1f} s, {allocated:.2f} GiB")
    return model


def clip_and_step(parameters: Sequence[torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    """What follows the backward pass in the training loop."""
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def make_step(model: FastFlux, batch: FluxBatch, *, recorded: bool) -> Callable[[], torch.Tensor]:
    """The step of the training loop on one fixed batch; `recorded` as a CUDA graph, as the trainer does on a card."""
    parameters = list(model.lora.values())
    optimizer = torch.optim.AdamW(parameters, lr=1e-6, fused=True)
    recorder = Recorder(parameters, print) if recorded else None
    inputs = {**batch.inputs, "target": batch.target}

    def loss_of(target: torch.Tensor, **given: torch.Tensor) -> torch.Tensor:
        return flow_loss(model(**given)[0], target).mean()

    def step() -> torch.Tensor:
        loss = loss_of(**inputs) if recorder is None else recorder.loss("loss", loss_of, inputs)
        loss.backward()
        clip_and_step(parameters, optimizer)
        return loss.detach()

    return step


def measure(bench: Bench, step: Callable[[], torch.Tensor], *, steps: int = 10, warmup: int = 3) -> dict[str, float]:
    """Median step seconds, seconds until the host is free again, seconds of the first step, and peak memory."""
    bench.clean()
    if bench.cuda:
        torch.cuda.reset_peak_memory_stats()
    began = time.monotonic()
    step()
    bench.synchronize()
    first = time.monotonic() - began
    for _ in range(warmup - 1):
        step()
    bench.synchronize()
    times, launches = [], []
    for _ in range(steps if bench.cuda else 2):
        began = time.monotonic()
        step()
        launches.append(time.monotonic() - began)
        bench.synchronize()
        times.append(time.monotonic() - began)
    return {
        "step_seconds": statistics.median(times),
        "launch_seconds": statistics.median(launches),
        "compile_seconds": max(0.0, first - statistics.median(times)),
        "peak_reserved_gib": torch.cuda.max_memory_reserved() / GIB if bench.cuda else 0.0,
        "peak_allocated_gib": torch.cuda.max_memory_allocated() / GIB if bench.cuda else 0.0,
    }


def gradient(bench: Bench, model: FastFlux) -> torch.Tensor:
    """The gradient of all adapters as one vector on the CPU."""
    batch = make_batch(CONFIGS[bench.size], 1024, bench.device, model.dtype, 1)
    flow_loss(model(**batch.inputs)[0], batch.target).mean().backward()
    vector = torch.cat([model.lora[name].grad.float().flatten().cpu() for name in sorted(model.lora)])  # type: ignore[union-attr]
    for parameter in model.lora.values():
        parameter.grad = None
    bench.clean()
    return vector


def keep_cosine(bench: Bench, storage: str, vector: torch.Tensor) -> None:
    """The cosine of a format's gradient with bf16's, once both are known."""
    bench.gradients[storage] = vector
    reference = bench.gradients.get("dense")
    for name, other in bench.gradients.items():
        if reference is not None and name != "dense":
            cosine = torch.nn.functional.cosine_similarity(other.double(), reference.double(), dim=0)
            bench.keep(f"gradient_{name}", {"storage": name, "gradient_cosine": float(cosine)})


def run(
    bench: Bench,
    case: str,
    model: FastFlux,
    *,
    pixels: int = 1024,
    recompute: tuple[int, int] = (0, 0),
    cap: float | None = None,
    recorded: bool = True,
) -> None:
    """Measure one setting of a built model and keep its row."""
    model.recompute = recompute
    batch = make_batch(CONFIGS[bench.size], pixels, bench.device, model.dtype, 1)
    step = make_step(model, batch, recorded=recorded and bench.cuda)
    row: Figures = {
        "storage": model.plan.storage,
        "transposed": model.transposed,
        "compact": model.plan.compact,
        "pixels": pixels,
        "batch": 1,
        "rank": RANK,
        "recompute_double": recompute[0],
        "recompute_single": recompute[1],
        "cap_gib": cap,
        "cuda_graph": recorded and bench.cuda,
    }
    figures = measure(bench, step)
    bench.keep(case, {**row, **figures, "loss": float(step())})
    if case == "ours_1024":
        profile(bench, step, case)
    del step
    bench.clean()


def planned(bench: Bench, gib: float, tighter: int) -> MemoryPlan:
    """The trainer's memory plan for 1024x1024 within `gib`."""
    config = CONFIGS[bench.size]
    return choose_plan(
        flux_spec(config),
        usable_gib=gib,
        tokens=(1024 // 16) ** 2 + TEXT_TOKENS,
        adapter_weights=adapter_weights(config, RANK),
        optimizer="adamw",
        storages=("fp8", "nf4"),
        tighter=tighter,
    )


def run_within(bench: Bench, gib: float, models: dict[Storage, FastFlux]) -> None:
    """The trainer's plan for a card of `gib`, and the next tighter one if that does not fit."""
    for tighter in (0, 1):
        plan = planned(bench, gib, tighter)
        if plan.storage not in models:
            models.clear()
            bench.clean()
            bench.set_cap(gib)
            models[plan.storage] = build(bench, FastPlan(storage=plan.storage, modulation=plan.storage))
        bench.set_cap(gib)
        bench.say(f"{gib:g} GiB: {plan.describe(flux_spec(CONFIGS[bench.size]))}")
        try:
            recompute = plan.recompute[0], plan.recompute[1]
            run(bench, f"ours_{gib:g}gib_1024", models[plan.storage], recompute=recompute, cap=gib)
            return
        except torch.cuda.OutOfMemoryError:
            bench.say(f"{gib:g} GiB: out of memory")
            bench.clean()
        finally:
            bench.set_cap(None)


# cases


def case_best(bench: Bench) -> None:
    """No cap: fp8 weights kept transposed too, exact inputs."""
    model = build(bench, FastPlan(storage="fp8", modulation="fp8", compact=False, keep_transposed=True))
    run(bench, "ours_1024", model)
    run(bench, "ours_1024_launched", model, recorded=False)
    run(bench, "ours_512", model, pixels=512)
    model.run_eagerly()
    run(bench, "ours_1024_not_compiled", model)


def case_within(bench: Bench) -> None:
    """24, 16 and 12 GiB."""
    models: dict[Storage, FastFlux] = {}
    for gib in (24.0, 16.0, 12.0):
        run_within(bench, gib, models)
        if gib == 24.0 and "fp8" in models:
            keep_cosine(bench, "fp8", gradient(bench, models["fp8"]))
    if "nf4" in models:
        models["nf4"].recompute = (0, 0)
        keep_cosine(bench, "nf4", gradient(bench, models["nf4"]))


def case_dense(bench: Bench) -> None:
    """bf16 weights: what the other formats' gradients are compared with."""
    model = build(bench, FastPlan())
    run(bench, "bf16_1024", model)
    keep_cosine(bench, "dense", gradient(bench, model))


def case_reference_bf16(bench: Bench) -> None:
    """diffusers + PEFT, bf16, every block recomputed, nothing compiled."""
    step = reference_step(CONFIGS[bench.size], bench.device, quantised=False)
    facts: Figures = {"storage": "bf16", "pixels": 1024, "batch": 1, "rank": RANK, "cuda_graph": False}
    bench.keep("reference_bf16_ckpt_eager_1024", {**facts, **measure(bench, step, steps=5)})


def case_reference_nf4(bench: Bench) -> None:
    """diffusers + PEFT, NF4 by bitsandbytes, every block recomputed, nothing compiled."""
    step = reference_step(CONFIGS[bench.size], bench.device, quantised=True)
    facts: Figures = {"storage": "nf4", "pixels": 1024, "batch": 1, "rank": RANK, "cuda_graph": False}
    bench.keep("reference_nf4_ckpt_eager_1024", {**facts, **measure(bench, step, steps=5)})


def profile(bench: Bench, step: Callable[[], torch.Tensor], name: str) -> None:
    """Where the time of a step goes, kernel by kernel, as a text file."""
    if not bench.cuda:
        return
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        step()
        torch.cuda.synchronize()
    rows = sorted(profiler.key_averages(), key=lambda row: -row.self_device_time_total)
    total = sum(row.self_device_time_total for row in rows)
    lines = [f"{total / 1000:.2f} ms in {sum(row.count for row in rows)} kernels"]
    for row in rows[:80]:
        lines.append(f"{row.self_device_time_total / 1000:9.3f} ms {row.count:6d} x  {row.key[:140]}")
    (bench.folder / f"profile_{name}.txt").write_text("\n".join(lines) + "\n")


CASES: dict[str, Callable[[Bench], None]] = {
    "best": case_best,
    "within": case_within,
    "reference_bf16": case_reference_bf16,
    "dense": case_dense,
    "reference_nf4": case_reference_nf4,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", default="full", choices=sorted(CONFIGS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--seconds", type=float, default=3600, help="start no further case after so long")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    arguments = parser.parse_args()
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    arguments.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments.size, device, arguments.out, arguments.seconds, compile=device.type == "cuda")
    bench.cudnn = cudnn_attention_works(device, 128)
    bench.say(kernel_line(device))
    for name in arguments.cases:
        if bench.seconds() > arguments.seconds:
            bench.say(f"{name}: no time left")
            continue
        try:
            CASES[name](bench)
        except Exception:
            traceback.print_exc()
            bench.keep(f"failed_{name}", {"error": traceback.format_exc().strip().splitlines()[-1][:300]})
        bench.set_cap(None)
        bench.clean()


if __name__ == "__main__":
    main()
