"""Predicted and measured peak memory of a FLUX.1-dev training step, over weight formats, sizes and recomputation.

python -m benchmarks.speed.memory_plan --out benchmarks/results
"""

import argparse
import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

import torch

from benchmarks.result_file import Row, result_text, write_result
from benchmarks.speed.flux_step import Bench, make_step, measure
from benchmarks.speed.flux_world import CONFIGS, TEXT_TOKENS, adapter_plan, adapter_weights, make_batch, random_source
from flenwheel_core.kernels.attention import cudnn_attention_works
from flenwheel_core.kernels.frozen_weights import Storage
from flenwheel_core.memory.training import predict_gib
from flenwheel_core.models.flux1.fast import FastFlux
from flenwheel_core.models.flux1.memory import flux_spec
from flenwheel_core.transformer.plan import FastPlan


class Case(NamedTuple):
    """One configuration; `recomputed` is the share of blocks."""

    storage: Storage
    rank: int
    pixels: int
    batch: int
    recomputed: float
    transposed: bool = False
    fit: bool = False
    """The plan's coefficients were fitted to this one; the others judge them."""


CASES = (
    Case("fp8", 16, 1024, 1, 1.0, fit=True),
    Case("fp8", 16, 1024, 1, 0.0, fit=True),
    Case("fp8", 16, 512, 1, 0.0, fit=True),
    Case("fp8", 16, 1024, 1, 0.5),
    Case("fp8", 16, 512, 1, 0.3),
    Case("fp8", 16, 768, 1, 0.25),
    Case("fp8", 16, 768, 1, 0.75),
    Case("fp8", 16, 512, 4, 0.5),
    Case("fp8", 16, 768, 1, 0.0, transposed=True),
    Case("nf4", 16, 1024, 1, 1.0, fit=True),
    Case("nf4", 16, 512, 1, 0.0, fit=True),
    Case("nf4", 16, 1024, 1, 0.7),
    Case("nf4", 16, 512, 1, 1.0),
    Case("nf4", 16, 768, 1, 0.5),
    Case("dense", 16, 1024, 1, 0.0, fit=True),
    Case("dense", 16, 512, 1, 1.0, fit=True),
    Case("dense", 16, 1024, 1, 0.5),
    Case("dense", 16, 768, 1, 0.8),
    Case("fp8", 64, 1024, 1, 1.0, fit=True),
    Case("fp8", 64, 512, 1, 0.0),
    Case("nf4", 32, 1024, 1, 0.9),
    Case("nf4", 32, 512, 2, 0.5),
)


def measured_rows(bench: Bench) -> Iterator[dict[str, str | int | float | bool | None]]:
    """A row a configuration; a model is built anew only when storage or rank change."""
    config = CONFIGS[bench.size]
    layers = int(config["num_layers"]), int(config["num_single_layers"])
    built: tuple[Storage, int] | None = None
    model: FastFlux | None = None
    for case in CASES:
        if bench.seconds() > bench.limit_seconds:
            return
        if built != (case.storage, case.rank) or (model is not None and model.transposed):
            model = None
            bench.clean()
            dtype = torch.bfloat16 if bench.cuda else torch.float32
            plan = FastPlan(storage=case.storage, modulation=case.storage, compile=bench.compile, cudnn=bench.cudnn)
            model = FastFlux(config, random_source(config, bench.device, dtype), plan, adapter_plan(config, case.rank))
            built = (case.storage, case.rank)
        assert model is not None
        if case.transposed:
            model.keep_transposed()
        recompute = (round(layers[0] * case.recomputed), round(layers[1] * case.recomputed))
        model.recompute = recompute
        row: dict[str, str | int | float | bool | None] = {
            "case": f"{case.storage}_{case.pixels}_batch{case.batch}_rank{case.rank}_recompute{case.recomputed:g}"
            + ("_transposed" if case.transposed else ""),
            **{name: value for name, value in case._asdict().items() if name != "fit"},
            "held_out": not case.fit,
            "recompute_double": recompute[0],
            "recompute_single": recompute[1],
        }
        try:
            batch = make_batch(config, case.pixels, bench.device, model.dtype, case.batch)
            figures = measure(bench, make_step(model, batch, recorded=bench.cuda), steps=2, warmup=2)
            row |= {"measured_gib": figures["peak_reserved_gib"], "allocated_gib": figures["peak_allocated_gib"]}
        except Exception as error:
            traceback.print_exc()
            row["failure"] = f"{type(error).__name__}: {error}"[:200]
        yield row


def predicted_gib(row: Row, size: str) -> float:
    """What the trainer's memory plan says of a measured configuration."""
    config = CONFIGS[size]
    return predict_gib(
        flux_spec(config),
        storage=cast(Storage, row["storage"]),
        modulation=cast(Storage, row["storage"]),
        transposed=bool(row["transposed"]),
        recompute=(int(row["recompute_double"] or 0), int(row["recompute_single"] or 0)),
        tokens=int(row["batch"] or 0) * ((int(row["pixels"] or 0) // 16) ** 2 + TEXT_TOKENS),
        adapter_weights=adapter_weights(config, int(row["rank"] or 0)),
    )


def with_prediction(row: Row, size: str) -> Row:
    """The row with the plan's figure and how far it is off."""
    if row.get("measured_gib") is None:
        return row
    predicted = predicted_gib(row, size)
    return {**row, "predicted_gib": predicted, "error": predicted / float(row["measured_gib"] or 1) - 1}


def with_summary(rows: list[Row]) -> list[Row]:
    """The rows, and how far the plan is off where its coefficients were not fitted."""
    errors = [abs(float(row["error"] or 0)) for row in rows if row.get("held_out") and row.get("measured_gib")]
    if not errors:
        return rows
    worst: Row = {"case": "held_out", "configurations": len(errors), "largest_error": max(errors)}
    return [*rows, {**worst, "mean_error": sum(errors) / len(errors)}]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", default="full", choices=sorted(CONFIGS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--seconds", type=float, default=3600, help="start no further configuration after so long")
    parser.add_argument("--predict", action="store_true", help="only predict again what the file has measured")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.predict:
        path = arguments.out / "memory_plan.json"
        result = json.loads(path.read_text())
        measured = [row for row in result["rows"] if row["case"] != "held_out"]
        measured = [{key: value for key, value in row.items() if key != "step_seconds"} for row in measured]
        result["rows"] = with_summary([with_prediction(row, arguments.size) for row in measured])
        path.write_text(result_text(result))
        return
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    bench = Bench(arguments.size, device, arguments.out, arguments.seconds, compile=not arguments.eager)
    bench.cudnn = cudnn_attention_works(device, 128)
    rows = []
    for row in measured_rows(bench):
        rows.append(with_prediction(row, arguments.size))
        bench.say(str(rows[-1]))
        write_result("memory_plan", with_summary(rows), folder=arguments.out)


if __name__ == "__main__":
    main()
