"""The commands `vl ...`: what a vision-language model is proven to do when it learns, and what its learning takes."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from deployments.cli.terminal import plain_console
from flenwheel_core.base.errors import ResourceError
from flenwheel_core.base.locks import FileLock
from flenwheel_core.base.settings import Settings
from flenwheel_core.models.references import ModelRole, resolve_model
from flenwheel_core.recipes.captioner import VlBackend

if TYPE_CHECKING:
    from flenwheel_core.models.qwen_vl.trainer import VlModel

console = plain_console()

vl = App(
    name="vl", help="A vision-language model that learns: proofs that only its language does, and what that takes."
)


def add_to(app: App) -> None:
    """Adds these commands to the `flenwheel` command."""
    app.command(vl)


@vl.command
def prove(
    model: str,
    *,
    weights: Literal["nf4", "int8", "bf16"] = "nf4",
    backend: VlBackend = "own",
    out: Path | None = None,
) -> int:
    """Train a small LoRA on a Qwen-VL, and try one proof after the other: that its eyes did not learn, and that pictures still reach it.

    Exits with 1 if one does not hold.

    Parameters
    ----------
    model
        `nano`, a model's folder, or hub-id@revision.
    weights
        How the language layers are stored on a card; on a CPU everything is float32.
    backend
        What trains: this package, or Unsloth in the interpreter that FLENWHEEL_UNSLOTH_PYTHON names.
    out
        A file for the report, JSON.
    """
    from flenwheel_core.engine.job import TrainHooks
    from flenwheel_core.models.qwen_vl.proofs import prove as proofs_of
    from flenwheel_core.models.registry import find_vl_trainer

    report: list[dict[str, str | bool]] = []
    with _model_alone(model) as opened, tempfile.TemporaryDirectory() as work:
        hooks = TrainHooks(
            lambda: False,
            lambda step, loss: console.print(f"step {step}: loss {loss:.4f}"),
            console.print,
            lambda part: console.print(f"loading {part}"),
        )
        train = None if backend == "own" else find_vl_trainer(model, Settings(), backend)
        for proof in proofs_of(opened, Path(work), weights, hooks, train=train):
            console.print(f"{'holds' if proof.holds else 'DOES NOT HOLD'}  {proof.name}: {proof.said}")
            report.append({"proof": proof.name, "holds": proof.holds, "said": proof.said})
            if out is not None:
                out.write_text(json.dumps({"model": model, "weights": weights, "proofs": report}, indent=1) + "\n")
    broken = sum(not row["holds"] for row in report)
    console.print(f"All {len(report)} hold." if not broken else f"{broken} of {len(report)} do not hold.")
    return 1 if broken else 0


@vl.command
def memory(
    model: str, *, weights: Literal["nf4", "fp8", "bf16"] = "nf4", seconds: float = 600.0, out: Path | None = None
) -> None:
    """Measure what a training step takes of the card, and what grows with the batch: one thing is changed at a time.

    Out of memory is a row, not an end.

    Parameters
    ----------
    model
        `nano`, a model's folder, or hub-id@revision.
    weights
        How the language layers are stored.
    seconds
        Begin no further kind of step after so long.
    out
        A folder for vl_memory.json and, where matplotlib is installed, vl_memory.png.
    """
    from flenwheel_core.kernels.frozen_weights import Storage
    from flenwheel_core.models.qwen_vl.batch_memory import GRID, MemoryLab, MemoryRow, growth
    from flenwheel_core.models.qwen_vl.memory_plot import plot_memory

    storages: dict[str, Storage] = {"nf4": "nf4", "fp8": "fp8", "bf16": "dense"}
    rows: list[MemoryRow] = []
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    with _model_alone(model) as opened:
        lab = MemoryLab.of_folder(opened.folder, opened.device, opened.dtype, storages[weights])
        for row in lab.rows(GRID, until=time.monotonic() + seconds):
            rows.append(row)
            console.print(_line(row))
            if out is not None:
                (out / "vl_memory.json").write_text(json.dumps({"model": model, "rows": rows}, indent=1) + "\n")
    for row in growth(rows):
        console.print(f"{row['case']}: {row['gib_a_sample']:.2f} GiB a sample more")
    picture = plot_memory(rows)
    if out is not None and picture is not None:
        (out / "vl_memory.png").write_bytes(picture)


@contextmanager
def _model_alone(reference: str) -> "Iterator[VlModel]":
    """The model, with the card's slot held: no stage runs beside it."""
    settings = Settings()
    folder = resolve_model(reference, ModelRole.CAPTIONER, settings)
    with FileLock(settings.slot_lock) as lock:
        if not lock.try_to_take():
            raise ResourceError(
                f"The GPU slot {settings.slot_name} is taken.",
                why="a stage works on the card, and two together would measure each other.",
                remedy="Wait until it is done, or stop it.",
            )
        from flenwheel_core.memory.card import limit_process
        from flenwheel_core.models.qwen_vl.trainer import VlModel

        limit_process(settings, records_graphs=True)
        yield VlModel.find(folder, reference, settings)


def _line(row: "dict[str, str | int | float | bool | None]") -> str:
    if row.get("out_of_memory"):
        return f"{row['case']}: out of memory"
    return f"{row['case']}: {row['step_seconds']:.3f} s, peak {row['peak_reserved_gib']:.2f} GiB reserved"
