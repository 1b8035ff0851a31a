"""One training step of Qwen-Image-Edit at full size: seconds and memory, ours and the reference way, on this machine's card.

Weights are random in the real shapes: neither speed nor memory depends on their values. A step is forward, backward, clipping and
optimizer; target and one reference of the same size, prompts and pictures encoded before. Ours recomputes every block in the backward
pass and keeps attention's output of as many blocks as fit. The reference is diffusers' transformer in bitsandbytes' NF4 with PEFT, every
block recomputed, nothing compiled.

    python -m benchmarks.speed.edit_step                                     # every case, about five minutes on an H200
    python -m benchmarks.speed.edit_step --size tiny --out /tmp/results      # try the code on a CPU
"""

import argparse
import json
import math
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks.result_file import RESULTS, Row, write_result
from benchmarks.speed.edit_world import (
    CONFIGS,
    GIB,
    RANK,
    build_fast,
    build_reference,
    clean,
    peak_reserved_gib,
    profile,
    set_cap,
    sizes_of,
    synchronize,
    text_tokens,
)
from flenwheel_core.engine.checkpoint import CheckpointFolder
from flenwheel_core.engine.flow_matching import flow_loss
from flenwheel_core.engine.graphs import Recorder
from flenwheel_core.engine.loop import run_loop
from flenwheel_core.kernels.attention import cudnn_attention_works
from flenwheel_core.kernels.frozen_weights import Storage
from flenwheel_core.models.qwen_image.fast import FastQwen
from flenwheel_core.models.qwen_image.task import EditExample, EditTask
from flenwheel_core.nano.models.editor import build_scheduler
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.transformer.plan import FastPlan

STEPS, WARMUP = 5, 2
TRIPLETS = 10


@dataclass
class Bench:
    """What the cases share."""

    size: str
    folder: Path
    device: torch.device
    compile: bool
    began: float = field(default_factory=time.monotonic)
    rows: dict[str, Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Cases of an earlier run in the same folder stay, but for those that are measured again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        old = self.folder / "edit_step.json"
        if old.exists():
            self.rows = {row["case"]: row for row in json.loads(old.read_text())["rows"]}

    def keep(self, case: str, row: dict[str, float | bool], pixels: int, **facts: str | float | int | None) -> None:
        self.rows[case] = {"case": case, "pixels": pixels, "batch": 1, "rank": RANK, **facts, **row}
        print(f"[{self.seconds():6.1f}] {self.rows[case]}", flush=True)
        write_result("edit_step", list(self.rows.values()), folder=self.folder)

    def seconds(self) -> float:
        return time.monotonic() - self.began


def make_step(
    bench: Bench,
    model: torch.nn.Module,
    parameters: list[torch.nn.Parameter],
    pixels: int,
    recorder: Recorder | None = None,
) -> Callable[[], torch.Tensor]:
    """The step of the training loop on one fixed triplet; `recorder` runs it as a CUDA graph."""
    sizes = sizes_of(pixels, size=bench.size)
    device = bench.device
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    generator = torch.Generator(device).manual_seed(2)
    tokens = sizes.target_tokens + sizes.reference_tokens
    words, width = text_tokens(pixels, size=bench.size), CONFIGS[bench.size]["joint_attention_dim"]
    inputs = {
        "hidden_states": torch.randn(1, tokens, 64, device=device, dtype=dtype, generator=generator),
        "timestep": torch.tensor([0.6], device=device, dtype=dtype),
        "encoder_hidden_states": torch.randn(1, words, width, device=device, dtype=dtype, generator=generator),
    }
    target = torch.randn(1, sizes.target_tokens, 64, device=device, generator=generator)
    optimizer = torch.optim.AdamW(parameters, lr=1e-6, fused=True)
    shapes = [sizes.image_shapes()]

    def loss_of(target: torch.Tensor, **given: torch.Tensor) -> torch.Tensor:
        prediction = model(**given, img_shapes=shapes, return_dict=False)[0][:, : sizes.target_tokens]
        return flow_loss(prediction, target).mean()

    def step() -> torch.Tensor:
        arguments = {**inputs, "target": target}
        loss = loss_of(**arguments) if recorder is None else recorder.loss("loss", loss_of, arguments)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def measure(step: Callable[[], torch.Tensor], steps: int = STEPS) -> dict[str, float | bool]:
    """Median seconds after the warmup, seconds of the first step, peak memory of all of it."""
    began = time.monotonic()
    step()
    synchronize()
    first = time.monotonic() - began
    for _ in range(WARMUP - 1):
        step()
    synchronize()
    times = []
    for _ in range(steps):
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


def measured(bench: Bench, model: FastQwen, pixels: int) -> dict[str, float | bool]:
    """With compiled blocks, or without if the compiler fails; the row says which."""
    parameters = list(model.lora.values())
    for parameter in parameters:
        parameter.grad = None
    clean()
    recorder = Recorder(parameters, print) if bench.device.type == "cuda" else None
    try:
        row = measure(make_step(bench, model, parameters, pixels, recorder))
        recorded = recorder is not None and recorder.works
        return {**row, "compiled": bench.compile, "cuda_graph": recorded}
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception:
        traceback.print_exc()
        model.run_eagerly()
        bench.compile = False
        clean()
        return {**measure(make_step(bench, model, parameters, pixels)), "compiled": False, "cuda_graph": False}


def run_within(bench: Bench, case: str, model: FastQwen, pixels: int, gib: float, first: int) -> float:
    """The case in a smaller card, with attention's output kept in `first` blocks or in fewer, until it fits. Returns the peak."""
    set_cap(gib)
    try:
        for kept in sorted({first, first * 3 // 4, first // 2, first // 4, 0}, reverse=True):
            model.keep_attention = kept
            try:
                row = measured(bench, model, pixels)
            except torch.cuda.OutOfMemoryError as error:
                print(f"{case}: does not fit {gib} GiB with attention of {kept} blocks kept: {error}", flush=True)
                continue
            facts = {"storage": model.plan.storage, "recomputed_blocks": model.recompute[0], "attention_kept": kept}
            bench.keep(case, row, pixels, cap_gib=gib, cudnn=model.plan.cudnn, **facts)
            return float(row["peak_reserved_gib"])
        return gib
    finally:
        set_cap(None)


def ten_triplets(bench: Bench, model: FastQwen, gib: float) -> None:
    """The real training loop on ten triplets whose prompts have ten lengths, in a smaller card."""
    sizes, pixels = sizes_of(1024, size=bench.size), 1024
    words, width = text_tokens(pixels, size=bench.size), CONFIGS[bench.size]["joint_attention_dim"]

    def example(number: int) -> EditExample:
        generator = torch.Generator().manual_seed(number)
        target, references = (torch.randn(sizes.target_tokens, 64, generator=generator) for _ in range(2))
        prompt, empty = (torch.randn(words + more, width, generator=generator) for more in (number, 0))
        return EditExample(sizes, target, references, prompt, empty)

    recipe = TrainingRecipe(steps=2 * TRIPLETS, batch_size=1, checkpoint_every=1000)
    examples = [example(number) for number in range(TRIPLETS)]
    dtype = torch.bfloat16 if bench.device.type == "cuda" else torch.float32
    set_cap(gib)
    clean()
    began = time.monotonic()
    recorder = Recorder(list(model.lora.values()), print) if bench.device.type == "cuda" else None
    with tempfile.TemporaryDirectory() as folder:
        run_loop(
            EditTask(model, model.lora, build_scheduler(), recipe, examples, seed=1, dtype=dtype, recorder=recorder),
            recipe,
            CheckpointFolder(Path(folder) / "checkpoints", "bench", 1),
            loss_file=Path(folder) / "loss.jsonl",
            trackers=[],
            should_stop=lambda: False,
            on_step=lambda *_: None,
        )
        synchronize()
    row = {"step_seconds": (time.monotonic() - began) / recipe.steps, "peak_reserved_gib": peak_reserved_gib()}
    facts: dict[str, str | int] = {
        "storage": model.plan.storage,
        "recomputed_blocks": model.recompute[0],
        "attention_kept": model.keep_attention,
        "triplets": TRIPLETS,
        "steps": recipe.steps,
    }
    bench.keep("ours_24gib_10_triplets", row, pixels, cap_gib=gib, **facts)
    set_cap(None)


def build_nf4(bench: Bench) -> FastQwen:
    """NF4 weights, every block recomputed; built within 24 GiB."""
    config = CONFIGS[bench.size]
    storage: Storage = "nf4" if bench.device.type == "cuda" else "dense"
    plan = FastPlan(
        storage,
        storage,
        compile=bench.compile,
        cudnn=cudnn_attention_works(bench.device, 128),
        recompute=(int(config["num_layers"]),),
    )
    set_cap(24.0)
    return build_fast(config, bench.device, plan, adapters=True)


def ours(bench: Bench) -> None:
    """1 MP within 24 and within 20 GiB, and ten triplets."""
    model = build_nf4(bench)
    peak = run_within(bench, "ours_24gib_1mp", model, 1024, 24.0, model.recompute[0])
    output_gib = (sizes_of(1024, size=bench.size).target_tokens * 2 + 1408) * 3072 * 2 / GIB
    over = max(0, math.ceil((peak - 19.6) / output_gib))
    fitting = max(0, model.keep_attention - over)
    try_(lambda: run_within(bench, "ours_1mp", model, 1024, 20.0, fitting))
    model.keep_attention = fitting
    try_(lambda: ten_triplets(bench, model, 24.0))
    try_(lambda: profile_step(bench, model, 1024))


def smaller(bench: Bench) -> None:
    """768 and 512 pixels."""
    model = build_nf4(bench)
    for pixels in (768, 512):
        try_(lambda pixels=pixels: run_within(bench, f"ours_{pixels}", model, pixels, 24.0, model.recompute[0]))  # type: ignore[misc]
    try_(lambda: profile_step(bench, model, 512))


def profile_step(bench: Bench, model: FastQwen, pixels: int) -> None:
    step = make_step(bench, model, list(model.lora.values()), pixels)
    step()
    profile(step, bench.folder / f"profile_edit_step_{pixels}.txt")


def reference(bench: Bench) -> None:
    """diffusers and PEFT."""
    model = build_reference(CONFIGS[bench.size], bench.device, adapters=True)
    model.enable_gradient_checkpointing()  # type: ignore[operator]
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    facts = {"storage": "nf4" if bench.device.type == "cuda" else "dense", "recomputed_blocks": 60}
    for pixels in (1024, 768):
        clean()
        row = measure(make_step(bench, model, parameters, pixels), steps=3)
        case = f"reference_nf4_ckpt_eager_{'1mp' if pixels == 1024 else pixels}"
        bench.keep(case, {**row, "compiled": False}, pixels, **facts)


def free(bench: Bench) -> None:
    """fp8 weights and as little recomputed as the card allows."""
    plan = FastPlan("fp8", "fp8", compile=bench.compile, cudnn=cudnn_attention_works(bench.device, 128))
    model = build_fast(CONFIGS[bench.size], bench.device, plan, adapters=True)
    for recomputed in (0, 8, 16):
        model.recompute = (recomputed,)
        try:
            row = measured(bench, model, 1024)
        except torch.cuda.OutOfMemoryError as error:
            print(f"ours_80gib_1mp: does not fit with {recomputed} blocks recomputed: {error}", flush=True)
            continue
        bench.keep("ours_80gib_1mp", row, 1024, storage="fp8", recomputed_blocks=recomputed, cudnn=plan.cudnn)
        return


CASES: dict[str, Callable[[Bench], None]] = {"ours": ours, "reference": reference, "smaller": smaller, "free": free}


def try_(case: Callable[[], object]) -> None:
    """A case that fails does not stop the next."""
    try:
        case()
    except Exception:
        traceback.print_exc()
    set_cap(None)
    clean()


def main() -> None:
    """Writes the result file after every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=list(CONFIGS), default="full")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no further case after so long")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bench = Bench(options.size, options.out, device, options.compile and device.type == "cuda")
    for name in options.cases:
        if bench.seconds() < options.seconds:
            try_(lambda part=CASES[name]: part(bench))  # type: ignore[misc]


if __name__ == "__main__":
    main()
