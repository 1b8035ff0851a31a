"""Every stage of a turn and of Flywheel 2 at full size, from weights on disk, through the worker, on a card limited from outside.

python -m benchmarks.speed.dress_rehearsal --work /dev/shm/rehearsal --card 24 --stages ingest enrich train generate --kill

Model folders with random weights are made once (about 90 GB). A process of its own holds the rest of the card. With --kill each stage is
killed once and must go on from what it finished. A run is a part: the result file keeps the rows of other parts.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from benchmarks.result_file import Row, write_part
from benchmarks.speed import rehearsal_folders as folders
from benchmarks.speed import rehearsal_requests as ask
from benchmarks.speed.rehearsal_klein import klein_folder
from benchmarks.speed.rehearsal_kontext import kontext_folder
from benchmarks.speed.rehearsal_requests import Rehearsal
from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.base.progress import ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.edit_train import EditTrainResult
from flenwheel_core.requests.ingest import IngestResult
from flenwheel_core.requests.train import TrainResult
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import find_stage
from flenwheel_core.runner.stage_runs import stage_runs
from flenwheel_core.store import Store

STAGES = (
    "ingest",
    "enrich",
    "enrich_40",
    "train",
    "train_no_prior",
    "generate",
    "benchmark",
    "edit_train",
    "edit_compare",
)
_PLAN = re.compile(r"([\d.]+) (?:GiB )?of ([\d.]+) GiB")


@dataclass
class Seen:
    """What a stage told while it ran."""

    began: float = field(default_factory=time.monotonic)
    steps: list[tuple[float, int]] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, event: ProgressEvent) -> None:
        now = time.monotonic() - self.began
        if event.kind == "step":
            self.steps.append((now, event.done))
        if event.text.startswith("memory plan"):
            self.plans.append(event.text)
        if event.kind in ("note", "loading") or len(self.steps) % 5 == 1:
            print(f"[{now:6.1f}] {event.line()}", flush=True)
        self.notes.append(event.text)

    def item_seconds(self) -> float | None:
        gaps = [(b[0] - a[0]) / (b[1] - a[1]) for a, b in zip(self.steps, self.steps[1:], strict=False) if b[1] > a[1]]
        return statistics.median(gaps) if gaps else None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of weights and workspace, 100 GB")
    parser.add_argument("--disk", type=Path, help="another folder for the editor, if --work has no room for both")
    parser.add_argument("--workspace", type=Path, help="another folder for what the stages keep, 40 GB")
    parser.add_argument("--card", type=float, default=24.0, help="GiB of the card that stay free")
    parser.add_argument("--recipe", default="flux_character_24gb")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--edit-2511", action="store_true", help="the editor with zero_cond_t")
    parser.add_argument(
        "--klein", action="store_true", help="FLUX.2 klein base 4B as base and editor; with --recipe klein_character"
    )
    parser.add_argument("--kontext", action="store_true", help="FLUX.1 Kontext as editor; with --recipe kontext_edit")
    parser.add_argument("--kill", action="store_true", help="kill each stage once")
    parser.add_argument("--edits", type=int, default=12)
    parser.add_argument("--steps", type=int, default=140)
    parser.add_argument("--pictures", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=560, help="no stage is begun after so long")
    parser.add_argument("--name", default="dress_rehearsal")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    began = time.monotonic()
    with _workspace(arguments) as (rehearsal, settings):
        print(f"folders ready after {time.monotonic() - began:.0f} s", flush=True)
        rows: list[Row] = []
        with ballast(arguments.card):
            for name in arguments.stages:
                if time.monotonic() - began > arguments.seconds:
                    print(f"no time left for {name}", flush=True)
                    continue
                rows.append(_row(name, arguments, rehearsal, settings))
                print(json.dumps(rows[-1]), flush=True)
                write_part(arguments.name, rows, folder=arguments.out)


@contextmanager
def _workspace(arguments: argparse.Namespace) -> Iterator[tuple[Rehearsal, Settings]]:
    work: Path = arguments.work
    disk: Path = arguments.disk or work
    wanted = set(arguments.stages)
    base = work / ("flux2-klein-base-4b" if arguments.klein else "flux1-dev")
    if arguments.klein:
        klein_folder(base)
    elif arguments.kontext or wanted & {"train", "train_no_prior", "generate", "benchmark"}:
        folders.flux_folder(base)
    editor, few_step = disk / "qwen-image-edit-2509", None
    one_family = arguments.klein or arguments.kontext
    if wanted & ({"ingest"} if one_family else {"ingest", "enrich", "enrich_40", "edit_train", "edit_compare"}):
        folders.edit_folder(editor)
        folders.captioner_folder(disk / "qwen2.5-vl-7b", editor)
        if arguments.edit_2511:
            editor = folders.edit_folder(disk / "qwen-image-edit-2511", zero_cond_t=True, weights_of=editor)
        few_step = None if one_family else folders.few_step_lora(work / "few-step.safetensors", editor)
    kept: Path = arguments.workspace or work
    os.environ["FLENWHEEL_WORKSPACE"] = str(kept / f"workspace-{arguments.card:g}")
    os.environ["FLENWHEEL_MODELS"] = str(kept / "models")
    settings = Settings()
    store = Store(settings.store_url)
    recipe = load_recipe(arguments.recipe)
    loras = () if few_step is None else (ask.few_step_use(store, few_step),)
    if arguments.klein:
        editor = base
    elif arguments.kontext:
        editor = kontext_folder(work / "flux1-kontext-dev", base)
    rehearsal = Rehearsal(store, recipe, str(base), str(editor), str(disk / "qwen2.5-vl-7b"), loras)
    ask.keep_sources(rehearsal)
    yield rehearsal, settings


@contextmanager
def ballast(leave_gib: float) -> Iterator[None]:
    """Another process holds the card but for `leave_gib`."""
    command = [sys.executable, "-m", "benchmarks.speed.card_ballast", "--leave-gib", str(leave_gib)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        print("ballast:", process.stdout.readline().strip(), flush=True)
        try:
            yield
        finally:
            process.stdin.close()
            process.wait()


def _row(
    name: str, arguments: argparse.Namespace, rehearsal: Rehearsal, settings: Settings
) -> dict[str, str | int | float | bool | None]:
    try:
        request, kept = _request(name, arguments, rehearsal)
        ended, resumed, seen, error = _run(request, settings, kept, kill=arguments.kill)
    except FlenwheelError as failure:
        ended, resumed, seen, error = False, False, Seen(), failure.message
    runs = [run for run in stage_runs(rehearsal.store).read() if run.event != "started"]
    last = runs[-1] if runs else None
    plan = _PLAN.search(seen.plans[-1]) if seen.plans else None
    return {
        "case": f"{name}_{arguments.card:g}gib"
        + (
            "_2511" if arguments.edit_2511 else "_klein" if arguments.klein else "_kontext" if arguments.kontext else ""
        ),
        "stage": name,
        "card_gib": arguments.card,
        "storage": seen.plans[-1].partition(": ")[2].split(" ")[0] if seen.plans else None,
        "plan": seen.plans[-1] if seen.plans else None,
        "first_item_seconds": seen.steps[0][0] if seen.steps else None,
        "item_seconds": seen.item_seconds(),
        "peak_reserved_gib": last.peak_vram_gib if last else None,
        "predicted_gib": float(plan[1]) if plan else None,
        "host_gib": last.peak_ram_gib if last else None,
        "kept_on_disk_gib": _size_gib(settings.models) + _size_gib(settings.scratch / "cache"),
        "out_of_memory": sum("out of memory" in note for note in seen.notes),
        "ended": ended,
        "resumed": resumed,
        "error": error,
    }


def _request(
    name: str, arguments: argparse.Namespace, rehearsal: Rehearsal
) -> tuple[StageRequest, Callable[[StageResult], None]]:
    def nothing(_result: StageResult) -> None:
        return

    def keep_ingested(result: StageResult) -> None:
        made = cast(IngestResult, result)
        print(made.summary(), flush=True)
        rehearsal.fingerprint = made.fingerprint

    def keep_lora(result: StageResult) -> None:
        rehearsal.character_lora = cast(TrainResult, result).lora.digest

    def keep_editor_lora(result: StageResult) -> None:
        rehearsal.editor_lora = cast(EditTrainResult, result).lora.digest

    sampler = rehearsal.recipe.enrich.sampler
    if name == "ingest":
        return ask.ingest(rehearsal), keep_ingested
    if name == "enrich":
        few = (
            sampler
            if arguments.klein or arguments.kontext
            else sampler.model_copy(update={"steps": 8, "true_cfg": 1.0})
        )
        return ask.enrich(rehearsal, edits=arguments.edits, sampler=few, few_step=True), nothing
    if name == "enrich_40":
        many = sampler.model_copy(update={"steps": 40, "true_cfg": 4.0})
        return ask.enrich(rehearsal, edits=3, sampler=many, few_step=False, turn=2), nothing
    if name == "train":
        return ask.train(rehearsal, steps=arguments.steps, prior=True), keep_lora
    if name == "train_no_prior":
        return ask.train(rehearsal, steps=arguments.steps, prior=False, name="mira-t1-v2"), keep_lora
    if name == "generate":
        return ask.generate(rehearsal, pictures=arguments.pictures), nothing
    if name == "benchmark":
        return ask.benchmark(rehearsal, pictures=arguments.pictures + 1), nothing
    if name == "edit_train":
        return ask.edit_train(rehearsal, steps=arguments.steps // 2), keep_editor_lora
    return ask.edit_compare(rehearsal, edits=4), nothing


def _run(
    request: StageRequest, settings: Settings, kept: Callable[[StageResult], None], *, kill: bool
) -> tuple[bool, bool, Seen, str | None]:
    """Runs a stage to its end; with `kill`, its process is killed once after its second step and it is run again."""
    stage = find_stage(request.stage)
    seen = Seen()
    if kill:
        killed = threading.Event()

        def until_second_step(event: ProgressEvent) -> None:
            seen.take(event)
            if len(seen.steps) >= 2 and not killed.is_set() and event.done < event.total:
                killed.set()
                run = next(
                    run
                    for run in reversed(list(stage_runs(Store(settings.store_url)).read()))
                    if run.event == "started"
                )
                os.kill(run.pid, signal.SIGKILL)

        try:
            kept(run_in_child(stage, request, settings, until_second_step))
            return True, not killed.is_set(), seen, None
        except FlenwheelError as error:
            if not killed.is_set():
                return False, False, seen, error.message
            print(f"killed: {error.what}", flush=True)
        before, seen = seen.steps[-1][1], Seen()
    try:
        kept(run_in_child(stage, request, settings, seen.take))
    except FlenwheelError as error:
        return False, False, seen, error.message
    resumed = kill and bool(seen.steps) and (before < 60 or seen.steps[0][1] > 0)
    return True, resumed, seen, None


def _size_gib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**30


if __name__ == "__main__":
    main()
