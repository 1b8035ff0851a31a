"""Every stage of a turn and of Flywheel 2 at full size, from weights on disk, through the worker, on a card limited from outside.

python -m benchmarks.speed.dress_rehearsal --work /dev/shm/rehearsal --card 24 --stages ingest enrich train generate --kill

Model folders with random weights are made once, those that the recipe names (about 90 GB). With `--limit ballast` a process of its own
holds the rest of the card. With `--limit process` each stage's process is refused what a card of that size would refuse it (but for what
the driver keeps beside tensors, recorded steps above all: the row has the driver's own count), and several rehearsals
share a large card: each with a `--name` of its own, and with `--beside` saying how many others run. `--limit none` takes the card as it
is, or, with `--recipe nano`, a processor.
With --kill each stage is killed once and must go on from what it finished. A run is a part: the result file keeps the rows of other
parts, and the workspace keeps what stages made.
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

from pydantic import ValidationError

from benchmarks.result_file import Row, write_part
from benchmarks.speed import rehearsal_requests as ask
from benchmarks.speed.card_limit import LimitLog, limited_card
from benchmarks.speed.card_use import CardWatch
from benchmarks.speed.rehearsal_models import Places, case_ending, make_folders
from benchmarks.speed.rehearsal_requests import Rehearsal
from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.base.progress import ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.edit_train import EditTrainResult
from flenwheel_core.requests.enrich import EnrichResult
from flenwheel_core.requests.ingest import IngestResult
from flenwheel_core.requests.train import TrainResult
from flenwheel_core.runner.launch import prepare, preparing_next, run_in_child
from flenwheel_core.runner.stage import INGEST, find_stage
from flenwheel_core.runner.stage_runs import StageRun, stage_runs
from flenwheel_core.store import Store

STAGES = (
    "ingest",
    "enrich",
    "enrich_40",
    "screen",
    "train",
    "train_no_prior",
    "generate",
    "benchmark",
    "edit_train",
    "edit_compare",
)
_KILLED_WHILE_LOADING = {"ingest": "captioner", "screen": "verifier"}
"""Stages whose items pass too fast to be caught: they are killed when they say that they load this."""
_ENOUGH_GAPS = 6
_PLAN = re.compile(r"([\d.]+) (?:GiB )?of ([\d.]+) GiB")


@dataclass
class Seen:
    """What a stage told while it ran."""

    began: float = field(default_factory=time.monotonic)
    steps: list[tuple[float, int]] = field(default_factory=list)
    """Of the last thing that was counted: ingest reads files before it describes pictures."""
    unit: str = ""
    plans: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, event: ProgressEvent) -> None:
        now = time.monotonic() - self.began
        if event.kind == "step":
            if event.unit != self.unit:
                self.unit, self.steps = event.unit, []
            if event.done == 0:
                return
            self.steps.append((now, event.done))
        if event.text.startswith("memory plan"):
            self.plans.append(event.text)
        if event.kind in ("note", "loading") or len(self.steps) % 5 == 1:
            print(f"[{now:6.1f}] {event.line()}", flush=True)
        self.notes.append(event.text)

    def item_seconds(self) -> float | None:
        """The median of the steady part; of few items their mean: one is written while the next is drawn, so reports come in lumps."""
        gaps = [(b[0] - a[0]) / (b[1] - a[1]) for a, b in zip(self.steps, self.steps[1:], strict=False) if b[1] > a[1]]
        if not gaps:
            return None
        if len(gaps) >= _ENOUGH_GAPS:
            return statistics.median(gaps)
        return (self.steps[-1][0] - self.steps[0][0]) / (self.steps[-1][1] - self.steps[0][1])


@dataclass(frozen=True)
class Limit:
    """How the card is kept small."""

    log: LimitLog | None = None
    """What processes under a limit of their own counted."""
    others: tuple[int, ...] = ()
    """Processes that hold memory of the card and belong to no stage."""


def main(argv: list[str] | None = None) -> None:
    """Rehearses the stages that the command line names."""
    arguments = _parsed(argv)
    began = time.monotonic()
    recipe = load_recipe(arguments.recipe)
    places = Places(arguments.work, arguments.disk or arguments.work)
    models = make_folders(recipe, arguments.stages, places, edit_2511=arguments.edit_2511)
    print(f"folders ready after {time.monotonic() - began:.0f} s", flush=True)
    if arguments.folders_only:
        return
    ending = case_ending(recipe, edit_2511=arguments.edit_2511)
    settings = _settings(arguments, f"{arguments.card:g}{ending}")
    rehearsal = Rehearsal.begin(Store(settings.store_url), recipe, models, settings.root)
    rows: list[Row] = []
    with _limited(arguments) as limit:
        if settings.gpu != "cpu":
            prepare(settings)  # as a turn does when it begins or goes on
        for name in arguments.stages:
            if time.monotonic() - began > arguments.seconds:
                print(f"no time left for {name}", flush=True)
                continue
            row = _row(name, ending, arguments, rehearsal, settings, limit)
            if row is not None:
                rows.append(row)
                print(json.dumps(row), flush=True)
                write_part(arguments.name, rows, folder=arguments.out)


def _parsed(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of weights and workspace, 100 GB")
    parser.add_argument("--disk", type=Path, help="another folder for editors that --work has no room for")
    parser.add_argument("--workspace", type=Path, help="another folder for what the stages keep, 40 GB")
    parser.add_argument("--card", type=float, default=24.0, help="GiB of the card that a stage may take")
    parser.add_argument("--limit", choices=("ballast", "process", "none"), default="ballast", help="what enforces it")
    parser.add_argument("--beside", type=int, default=0, help="rehearsals that run at the same time on this machine")
    parser.add_argument(
        "--other-cards", type=int, default=0, help="rehearsals on other cards of this machine meanwhile"
    )
    parser.add_argument("--recipe", default="flux_character_24gb", help="its models decide which folders are made")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--folders-only", action="store_true", help="make the folders of these stages, run none")
    parser.add_argument("--edit-2511", action="store_true", help="the editor with zero_cond_t")
    parser.add_argument("--kill", action="store_true", help="kill each stage once")
    parser.add_argument("--edits", type=int, default=12)
    parser.add_argument("--steps", type=int, default=140)
    parser.add_argument("--pictures", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=560, help="no stage is begun after so long")
    parser.add_argument("--name", default="dress_rehearsal", help="of the result file; no two runs at once share one")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    return parser.parse_args(argv)


def _settings(arguments: argparse.Namespace, size: str) -> Settings:
    kept: Path = arguments.workspace or arguments.work
    os.environ["FLENWHEEL_WORKSPACE"] = str(kept / f"workspace-{size}")
    os.environ["FLENWHEEL_MODELS"] = str(kept / "models")
    if arguments.limit == "process":
        os.environ["FLENWHEEL_SLOT"] = arguments.name  # one stage at a time for each rehearsal, not for the card
    settings = Settings()
    settings.root.mkdir(parents=True, exist_ok=True)
    return settings


@contextmanager
def _limited(arguments: argparse.Namespace) -> Iterator[Limit]:
    if arguments.limit == "process":
        with limited_card(arguments.card) as log:
            yield Limit(log)
    elif arguments.limit == "ballast":
        with ballast(arguments.card) as pid:
            yield Limit(others=(pid,))
    else:
        yield Limit()


@contextmanager
def ballast(leave_gib: float) -> Iterator[int]:
    """Another process, whose id this is, holds the card but for `leave_gib`."""
    command = [sys.executable, "-m", "benchmarks.speed.card_ballast", "--leave-gib", str(leave_gib)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        print("ballast:", process.stdout.readline().strip(), flush=True)
        try:
            yield process.pid
        finally:
            process.stdin.close()
            process.wait()


def _row(
    name: str, ending: str, arguments: argparse.Namespace, rehearsal: Rehearsal, settings: Settings, limit: Limit
) -> dict[str, str | int | float | bool | None] | None:
    """What a stage took; None if this workspace has its result already, which would be no measurement."""
    counted = len(limit.log.counts()) if limit.log else 0
    last: StageRun | None = None
    with CardWatch(without=limit.others) as watch:
        try:
            request, kept = _request(name, arguments, rehearsal, settings)
            done = rehearsal.store.get_result(request, find_stage(request.stage).result)
            if done is not None:
                print(f"{name}: done before in this workspace, no row", flush=True)
                kept(done)
                return None
            ended, resumed, seen, error = _run(request, settings, kept, kill=arguments.kill)
            runs = [run for run in stage_runs(rehearsal.store).read() if run.request == request.key()]
            last = next((run for run in reversed(runs) if run.event != "started"), None)
        except FlenwheelError as failure:
            ended, resumed, seen, error = False, False, Seen(), failure.message
        except ValidationError as failure:  # too few steps for a recipe's warm-up, for instance: the other stages go on
            ended, resumed, seen, error = False, False, Seen(), str(failure)
    plan = _PLAN.search(seen.plans[-1]) if seen.plans else None
    counts = limit.log.counts()[counted:] if limit.log else []
    if error is None and limit.log and last and last.peak_vram_gib and not counts:
        ended, error = False, "The limit was not in effect: what the stage allocated was not counted."
    return {
        "case": f"{name}_{arguments.card:g}gib{ending}",
        "stage": name,
        "card_gib": arguments.card,
        "recipe": rehearsal.recipe.name,
        "limit": arguments.limit,
        "beside": arguments.beside,
        "other_cards": arguments.other_cards,
        "storage": seen.plans[-1].partition(": ")[2].split(" ")[0] if seen.plans else None,
        "plan": seen.plans[-1] if seen.plans else None,
        "first_item_seconds": seen.steps[0][0] if seen.steps else None,
        "item_seconds": seen.item_seconds(),
        "peak_reserved_gib": last.peak_vram_gib if last else None,
        "peak_process_gib": watch.peak_gib,
        "peak_counted_gib": max((count.peak_gib for count in counts), default=None),
        "refused": sum(count.refused for count in counts) if limit.log else None,
        "predicted_gib": float(plan[1]) if plan else None,
        "host_gib": last.peak_ram_gib if last else None,
        "kept_on_disk_gib": _size_gib(settings.models) + _size_gib(settings.scratch / "cache"),
        "out_of_memory": sum("out of memory" in note for note in seen.notes),
        "ended": ended,
        "resumed": resumed,
        "error": error,
    }


def _request(
    name: str, arguments: argparse.Namespace, rehearsal: Rehearsal, settings: Settings
) -> tuple[StageRequest, Callable[[StageResult], None]]:
    """What is asked of a stage, and what is kept of its result."""

    def nothing(_result: StageResult) -> None:
        return

    def keep_ingested(result: StageResult) -> None:
        made = cast(IngestResult, result)
        print(made.summary(), flush=True)
        rehearsal.keep(rehearsal.made.model_copy(update={"fingerprint": made.fingerprint}))

    def keep_edits(result: StageResult) -> None:
        rehearsal.keep(rehearsal.made.model_copy(update={"edits": cast(EnrichResult, result).images}))

    def keep_lora(result: StageResult) -> None:
        rehearsal.keep(rehearsal.made.model_copy(update={"character_lora": cast(TrainResult, result).lora.digest}))

    def keep_editor_lora(result: StageResult) -> None:
        rehearsal.keep(rehearsal.made.model_copy(update={"editor_lora": cast(EditTrainResult, result).lora.digest}))

    if name in ("screen", "benchmark") and rehearsal.made.fingerprint is None:
        keep_ingested(run_in_child(INGEST, ask.ingest(rehearsal, described=False), settings, lambda _event: None))
    sampler = rehearsal.recipe.enrich.sampler
    if name == "ingest":
        return ask.ingest(rehearsal), keep_ingested
    if name == "enrich":
        few = sampler.model_copy(update={"steps": 8, "true_cfg": 1.0}) if rehearsal.few_step else sampler
        return ask.enrich(rehearsal, edits=arguments.edits, sampler=few, few_step=True), keep_edits
    if name == "enrich_40":
        many = sampler.model_copy(update={"steps": 40, "true_cfg": 4.0})
        return ask.enrich(rehearsal, edits=3, sampler=many, few_step=False, turn=2), nothing
    if name == "screen":
        return ask.screen(rehearsal), nothing
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
) -> tuple[bool, bool | None, Seen, str | None]:
    """Runs a stage to its end; with `kill`, its process is killed once amid its work and run again.

    It is killed after its second item, a training after its second checkpoint: before that one is written the first is on disk. Whether it
    ended, whether it went on from what was there (None for a stage that begins again by nature), what it told, and its error.
    """
    stage = find_stage(request.stage)
    trains = request.stage in ("train", "edit_train")
    loads = _KILLED_WHILE_LOADING.get(stage.name)
    seen = Seen()
    if kill:
        killed = threading.Event()
        kill_at = 2 * ask.CHECKPOINT_EVERY + 1 if trains else 0

        def until_amid(event: ProgressEvent) -> None:
            seen.take(event)
            stepped = (
                event.kind == "step" and event.done >= kill_at and len(seen.steps) >= 2 and event.done < event.total
            )
            amid = stepped if loads is None else event.kind == "loading" and loads in event.text
            if amid and not killed.is_set():
                killed.set()
                run = next(
                    run
                    for run in reversed(list(stage_runs(Store(settings.store_url)).read()))
                    if run.event == "started" and run.request == request.key()
                )
                os.kill(run.pid, signal.SIGKILL)

        try:
            kept(run_in_child(stage, request, settings, until_amid))
            print("it ended before it was killed", flush=True)
            return True, False, seen, None
        except FlenwheelError as error:
            if not killed.is_set():
                return False, False, seen, error.message
            print(f"killed: {error.what}", flush=True)
        seen = Seen()
    try:
        # How soon a stage begins is measured on a card only.
        sink = seen.take if settings.gpu == "cpu" else preparing_next(seen.take, settings)
        kept(run_in_child(stage, request, settings, sink))
    except FlenwheelError as error:
        return False, False, seen, error.message
    if not kill or loads is not None:
        return True, None if kill else False, seen, None
    return True, bool(seen.steps) and seen.steps[0][1] > (ask.CHECKPOINT_EVERY if trains else 1), seen, None


def _size_gib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**30


if __name__ == "__main__":
    main()
