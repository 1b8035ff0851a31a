"""One training step of FLUX.1-dev at full size: seconds and memory, ours and the reference way, on this machine's card.

Weights are random in the real shapes: neither speed nor memory depends on their values. A step is forward, backward,
clipping and optimizer, as in the training loop; text and pictures are encoded before training and are not part of it.
Rows of cases that run replace those of the same name in the result file; the others stay.

    python -m benchmarks.flux_step --out benchmarks/results            # every case, about ten minutes on an H200
    python -m benchmarks.flux_step --cases ours_1024 --size tiny       # try the code on a CPU
"""

import argparse
import gc
import json
import statistics
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from benchmarks.flux_reference import reference_step
from benchmarks.flux_world import CONFIGS, RANK, FluxBatch, adapter_plan, make_batch, random_source
from benchmarks.result_file import Row, write_result
from flenwheel_core.families.flux.fast import FastFlux, FastPlan
from flenwheel_core.training.attention import cudnn_attention_works
from flenwheel_core.training.flow_matching import flow_loss
from flenwheel_core.training.graphs import Recorder

GIB = 2**30


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

    def keep(self, case: str, row: dict[str, str | int | float | bool | None]) -> None:
        self.rows[case] = {"case": case, **row}
        self.say(json.dumps(self.rows[case]))
        write_result("flux_step", list(self.rows.values()), folder=self.folder)


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
    clean(bench)
    allocated = torch.cuda.memory_allocated() / GIB if bench.cuda else 0.0
    bench.say(f"built {plan.storage}: {time.monotonic() - began:.1f} s, {allocated:.2f} GiB")
    return model


def make_step(model: FastFlux, batch: FluxBatch) -> tuple[Callable[[], torch.Tensor], torch.optim.Optimizer]:
    """The step of the training loop on one fixed batch."""
    parameters = list(model.lora.values())
    optimizer = torch.optim.AdamW(parameters, lr=1e-6, fused=True)

    def step() -> torch.Tensor:
        loss = flow_loss(model(**batch.inputs)[0], batch.target).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step, optimizer


def make_graphed_step(model: FastFlux, batch: FluxBatch) -> Callable[[], torch.Tensor]:
    """The same step with forward and backward as one CUDA graph."""
    parameters = list(model.lora.values())
    optimizer = torch.optim.AdamW(parameters, lr=1e-6, fused=True)
    recorder = Recorder(parameters, print)

    def loss_of(target: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        return flow_loss(model(**inputs)[0], target).mean()

    def step() -> torch.Tensor:
        loss = recorder.loss("loss", loss_of, {**batch.inputs, "target": batch.target})
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def measure(bench: Bench, step: Callable[[], torch.Tensor], *, steps: int = 8, warmup: int = 3) -> dict[str, float]:
    """Median step seconds, seconds until the host is free again, seconds of the first step, and peak memory."""
    began = time.monotonic()
    step()
    synchronize(bench)
    first = time.monotonic() - began
    clean(bench)
    for _ in range(warmup - 1):
        step()
    synchronize(bench)
    if bench.cuda:
        torch.cuda.reset_peak_memory_stats()
    times, launches = [], []
    for _ in range(steps if bench.cuda else 2):
        began = time.monotonic()
        step()
        launches.append(time.monotonic() - began)
        synchronize(bench)
        times.append(time.monotonic() - began)
    return {
        "step_seconds": statistics.median(times),
        "launch_seconds": statistics.median(launches),
        "compile_seconds": max(0.0, first - statistics.median(times)),
        "peak_reserved_gib": torch.cuda.max_memory_reserved() / GIB if bench.cuda else 0.0,
        "peak_allocated_gib": torch.cuda.max_memory_allocated() / GIB if bench.cuda else 0.0,
    }


def gradient(model: FastFlux, batch: FluxBatch) -> torch.Tensor:
    """The gradient of all adapters as one vector on the CPU."""
    flow_loss(model(**batch.inputs)[0], batch.target).mean().backward()
    vector = torch.cat([model.lora[name].grad.float().flatten().cpu() for name in sorted(model.lora)])  # type: ignore[union-attr]
    for parameter in model.lora.values():
        parameter.grad = None
    return vector


def run(
    bench: Bench, case: str, model: FastFlux, pixels: int, recompute: tuple[int, int], batch_size: int = 1
) -> dict[str, float]:
    """Measure one setting of a built model and keep its row."""
    model.recompute = recompute
    batch = make_batch(CONFIGS[bench.size], pixels, bench.device, model.dtype, batch_size)
    step, optimizer = make_step(model, batch)
    clean(bench)
    try:
        measured = measure(bench, step)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:
        traceback.print_exc()
        bench.say(f"{case}: compiled code failed, going on without: {type(error).__name__}")
        model.run_eagerly()
        step, optimizer = make_step(model, batch)
        measured = measure(bench, step)
    loss = float(step())
    row: dict[str, str | int | float | bool | None] = {
        "storage": model.plan.storage,
        "modulation": model.plan.modulation,
        "transposed": model.transposed,
        "compact": model.plan.compact,
        "pixels": pixels,
        "batch": batch_size,
        "recompute_double": recompute[0],
        "recompute_single": recompute[1],
        "cap_gib": _CAP["gib"],
        "compiled": model.compiled,
        "rank": RANK,
        **measured,
        "loss": loss,
    }
    bench.keep(case, row)
    del step, optimizer
    clean(bench)
    return measured


def run_within(
    bench: Bench, case: str, model: FastFlux, gib: float, all_: dict[str, float], none: dict[str, float]
) -> None:
    """Recompute as few blocks as fit: the memory is linear between recomputing all and none."""
    layers = CONFIGS[bench.size]["num_layers"], CONFIGS[bench.size]["num_single_layers"]
    span = none["peak_reserved_gib"] - all_["peak_reserved_gib"]
    share = (gib - 0.7 - all_["peak_reserved_gib"]) / span if span else 0.0
    for margin in (0.0, 0.12, 0.3):
        kept = [int(count * max(0.0, min(1.0, share - margin))) for count in layers]
        set_cap(bench, gib)
        try:
            run(bench, case, model, 1024, (layers[0] - kept[0], layers[1] - kept[1]))
            return
        except torch.cuda.OutOfMemoryError:
            bench.say(f"{case}: {kept} blocks kept do not fit")
            clean(bench)
        finally:
            set_cap(bench, None)


_CAP: dict[str, float | None] = {"gib": None}


def set_cap(bench: Bench, gib: float | None) -> None:
    """Imitate a smaller card: an allocation beyond `gib` raises OutOfMemoryError."""
    _CAP["gib"] = gib
    if bench.cuda:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(1.0 if gib is None else gib * GIB / total)


def synchronize(bench: Bench) -> None:
    if bench.cuda:
        torch.cuda.synchronize()


def clean(bench: Bench) -> None:
    gc.collect()
    if bench.cuda:
        torch.cuda.empty_cache()


# cases


def case_fp8(bench: Bench) -> None:
    """fp8 weights: the 24 GiB plan first (built within the cap), then without cap, then 512."""
    layers = CONFIGS[bench.size]["num_layers"], CONFIGS[bench.size]["num_single_layers"]
    set_cap(bench, 24.0)
    model = build(bench, FastPlan(storage="fp8", modulation="fp8", compact=True))
    all_ = run(bench, "fp8_recompute_all_1024", model, 1024, layers)
    set_cap(bench, None)
    none = run(bench, "fp8_1024", model, 1024, (0, 0))
    profile(bench, model, "fp8_1024")
    run_within(bench, "ours_24gib_1024", model, 24.0, all_, none)
    model.keep_transposed()
    run(bench, "ours_1024", model, 1024, (0, 0))
    run(bench, "ours_512", model, 512, (0, 0))
    profile(bench, model, "ours_512", pixels=512)


def case_dense(bench: Bench) -> None:
    """bf16 weights: what the others' gradients are compared with."""
    model = build(bench, FastPlan())
    run(bench, "bf16_1024", model, 1024, (0, 0))
    run(bench, "bf16_recompute_all_1024", model, 1024, (99, 99))


def case_nf4(bench: Bench) -> None:
    """NF4 weights within 12 and 16 GiB."""
    layers = CONFIGS[bench.size]["num_layers"], CONFIGS[bench.size]["num_single_layers"]
    set_cap(bench, 12.0)
    model = build(bench, FastPlan(storage="nf4", modulation="nf4"))
    all_ = run(bench, "ours_12gib_1024", model, 1024, layers)
    set_cap(bench, None)
    none = run(bench, "nf4_1024", model, 1024, (0, 0))
    run_within(bench, "ours_16gib_1024", model, 16.0, all_, none)
    run_within(bench, "nf4_24gib_1024", model, 24.0, all_, none)


def case_best(bench: Bench) -> None:
    """fp8 weights with exact inputs and transposed copies, then as one CUDA graph; then within 24 GiB."""
    model = build(bench, FastPlan(storage="fp8", modulation="fp8", compact=False))
    model.keep_transposed()
    for pixels in (1024, 512):
        run(bench, f"ours_exact_inputs_{pixels}", model, pixels, (0, 0))
        batch = make_batch(CONFIGS[bench.size], pixels, bench.device, model.dtype, 1)
        step = make_graphed_step(model, batch)
        row = {"storage": "fp8", "transposed": True, "compact": False, "pixels": pixels, "batch": 1, "rank": RANK}
        bench.keep(f"ours_graph_{pixels}", {**row, **measure(bench, step, steps=12)})
        del step
        clean(bench)
        if pixels == 1024:
            profile(bench, model, "ours_graph_1024")


def case_within(bench: Bench) -> None:
    """fp8 weights within 24 GiB, then the same as one CUDA graph; then NF4 within 12 and 16 GiB as graphs."""
    for storage, gib, recompute in (("fp8", 24.0, (13, 26)), ("nf4", 12.0, (19, 38)), ("nf4", 16.0, (16, 31))):
        set_cap(bench, gib)
        model = build(bench, FastPlan(storage=storage, modulation=storage))  # type: ignore[arg-type]
        run(bench, f"ours_{gib:g}gib_again_1024", model, 1024, recompute)
        batch = make_batch(CONFIGS[bench.size], 1024, bench.device, model.dtype, 1)
        step = make_graphed_step(model, batch)
        row = {"storage": storage, "cap_gib": gib, "recompute_double": recompute[0], "recompute_single": recompute[1]}
        measured = measure(bench, step, steps=12)
        bench.keep(f"ours_{gib:g}gib_graph_1024", {**row, "pixels": 1024, "batch": 1, "rank": RANK, **measured})
        del step, model
        clean(bench)


def case_gradients(bench: Bench) -> None:
    """Every storage's gradient against bf16's, same weights and batch."""
    for storage in ("dense", "fp8", "nf4"):
        model = build(bench, FastPlan(storage=storage, modulation=storage))  # type: ignore[arg-type]
        batch = make_batch(CONFIGS[bench.size], 1024, bench.device, model.dtype, 1)
        bench.gradients[storage] = gradient(model, batch)
        del model
        clean(bench)
    compare_gradients(bench)


def compare_gradients(bench: Bench) -> None:
    """Cosine of each format's gradient with bf16's."""
    if "dense" not in bench.gradients:
        return
    for storage, vector in bench.gradients.items():
        reference = bench.gradients["dense"].double()
        cosine = float(torch.nn.functional.cosine_similarity(vector.double(), reference, dim=0))
        bench.keep(f"gradient_{storage}", {"storage": storage, "gradient_cosine": cosine})


def case_reference_bf16(bench: Bench) -> None:
    """diffusers + PEFT, bf16, every block recomputed, nothing compiled."""
    step = reference_step(CONFIGS[bench.size], bench.device, quantised=False)
    bench.keep(
        "reference_bf16_ckpt_eager_1024",
        {"storage": "bf16", "pixels": 1024, "batch": 1, "rank": RANK, **measure(bench, step, steps=5)},
    )


def case_reference_nf4(bench: Bench) -> None:
    """diffusers + PEFT, NF4 by bitsandbytes, every block recomputed, nothing compiled."""
    step = reference_step(CONFIGS[bench.size], bench.device, quantised=True)
    bench.keep(
        "reference_nf4_ckpt_eager_1024",
        {"storage": "nf4", "pixels": 1024, "batch": 1, "rank": RANK, **measure(bench, step, steps=5)},
    )


def profile(bench: Bench, model: FastFlux, name: str, pixels: int = 1024) -> None:
    """Where the time of a step goes, kernel by kernel, as a text file."""
    if not bench.cuda:
        return
    step, _ = make_step(model, make_batch(CONFIGS[bench.size], pixels, bench.device, model.dtype, 1))
    step()
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        step()
        torch.cuda.synchronize()
    table = profiler.key_averages().table(sort_by="self_cuda_time_total", row_limit=45, max_name_column_width=110)
    (bench.folder / f"profile_{name}.txt").write_text(table)


CASES: dict[str, Callable[[Bench], None]] = {
    "fp8": case_fp8,
    "reference_bf16": case_reference_bf16,
    "dense": case_dense,
    "nf4": case_nf4,
    "best": case_best,
    "within": case_within,
    "gradients": case_gradients,
    "reference_nf4": case_reference_nf4,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--size", default="full", choices=sorted(CONFIGS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--seconds", type=float, default=3600, help="start no further case after so long")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    arguments = parser.parse_args()
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    arguments.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments.size, device, arguments.out, arguments.seconds, compile=not arguments.eager)
    bench.cudnn = cudnn_attention_works(device, 128)
    bench.say(f"cuDNN attention: {bench.cudnn}")
    old = arguments.out / "flux_step.json"
    if old.exists():
        bench.rows = {row["case"]: row for row in json.loads(old.read_text())["rows"]}
    for name in arguments.cases.split(","):
        if bench.seconds() > arguments.seconds:
            bench.say(f"{name}: no time left")
            continue
        try:
            CASES[name](bench)
        except Exception:
            traceback.print_exc()
            bench.keep(f"failed_{name}", {"error": traceback.format_exc().strip().splitlines()[-1][:300]})
        set_cap(bench, None)
        clean(bench)


if __name__ == "__main__":
    main()
