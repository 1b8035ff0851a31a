"""Runs one stage in this process: `python -m flenwheel_core.runner.worker STAGE request.json result.json`.

A GPU stage holds its card's kernel lock while it runs: exactly one at a time, whatever started it, and the kernel frees
it whenever the process dies. Progress goes to standard output, one JSON object a line.
Exit codes: 0 done, 202 do not retry, 203 may retry, 210 out of memory.
"""

import argparse
import errno
import importlib
import importlib.metadata
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from flenwheel_core.base.errors import (
    EXIT_DO_NOT_RETRY,
    EXIT_DONE,
    EXIT_MAY_RETRY,
    FlenwheelError,
    InputError,
    InterruptedStageError,
    OutOfMemoryError,
    RetryableError,
    first_line,
)
from flenwheel_core.base.locks import FileLock
from flenwheel_core.base.processes import when_parent_is_gone
from flenwheel_core.base.progress import Progress, ProgressEvent, hearing
from flenwheel_core.base.settings import Settings
from flenwheel_core.base.slots import slots_for
from flenwheel_core.memory.card import is_out_of_memory, limit_process
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.edit_train import EditTrainRequest
from flenwheel_core.requests.train import TrainRequest
from flenwheel_core.requests.train_share import TrainShareRequest
from flenwheel_core.requests.vl_train import VlTrainRequest
from flenwheel_core.runner.kept_state import keeper_of
from flenwheel_core.runner.stage import Stage, StageContext, find_stage
from flenwheel_core.runner.stage_runs import StageRun, stage_runs
from flenwheel_core.store import Store

AnyStage = Stage[StageRequest, StageResult]

_Training = TrainRequest | EditTrainRequest | VlTrainRequest
"""Requests of stages that train with recorded steps."""
_VERSIONED = ("torch", "diffusers", "transformers", "peft", "bitsandbytes", "flenwheel")


def run_stage(
    stage: AnyStage,
    request: StageRequest,
    settings: Settings,
    progress: Progress,
    *,
    memory_level: int,
    stop: threading.Event,
) -> StageResult:
    """The result of a request: read if it is there, made if not. Safe to call again, in parallel and after a crash."""
    store = Store(settings.store_url, settings.store_options)
    done = store.get_result(request, stage.result)
    if done is not None:
        return done
    store.put_request(request)
    scratch = settings.scratch / stage.name / request.key()
    scratch.mkdir(parents=True, exist_ok=True)
    same_work = _alone(scratch / "lock", "another process that makes the same result", progress, stop)
    with same_work, _card(stage, request, settings, progress, stop):
        done = store.get_result(request, stage.result)
        if done is not None:
            return done
        context = StageContext(store, settings, scratch, progress, memory_level, stop)
        keeper = keeper_of(stage.kept, request, store, settings, scratch, progress)
        with _recorded(stage, request, settings, store):
            with keeper.keeping() if keeper is not None else nullcontext():
                result = stage.load_body()(request, context)
            store.put_result(request, result)
        if keeper is not None:
            keeper.clear()
        return store.get_result(request, stage.result) or result


@contextmanager
def _card(
    stage: AnyStage, request: StageRequest, settings: Settings, progress: Progress, stop: threading.Event
) -> Iterator[None]:
    cards = stage.cards(request)
    if not cards:
        yield
        return
    with ExitStack() as held:
        for slot in slots_for(settings, cards):
            lock = held.enter_context(_alone(slot.lock, f"the GPU slot {slot.name}", progress, stop))
            holder = {"pid": os.getpid(), "stage": stage.name, "slot": slot.name, "workspace": str(settings.root)}
            lock.note(json.dumps(holder))
        if not _trains_in_team(request):  # its processes limit themselves
            recipe = request.recipe if isinstance(request, _Training) else None
            limit_process(
                settings, records_graphs=recipe is not None, deterministic=recipe is not None and recipe.deterministic
            )
        yield


def _trains_in_team(request: StageRequest) -> bool:
    several = isinstance(request, TrainRequest) and request.recipe.processes > 1
    return several or isinstance(request, TrainShareRequest)


@contextmanager
def _alone(path: Path, what: str, progress: Progress, stop: threading.Event) -> Iterator[FileLock]:
    with FileLock(path) as lock:
        said = False
        while not lock.try_to_take():
            if not said:
                progress.note(f"waiting for {what}")
                said = True
            if stop.wait(0.2):
                raise InterruptedStageError("The stage was stopped while it waited.")
        yield lock


@contextmanager
def _recorded(stage: AnyStage, request: StageRequest, settings: Settings, store: Store) -> Iterator[None]:
    journal = stage_runs(store)
    began = time.monotonic()
    cards = stage.cards(request)
    facts = {
        "stage": stage.name,
        "request": request.key(),
        "host": settings.machine_name,
        "pid": os.getpid(),
        "slot": ", ".join(slot.name for slot in slots_for(settings, cards)) if cards else None,
        "flow_run": os.environ.get("FLENWHEEL_FLOW_RUN"),
    }
    journal.append(StageRun.model_validate({"event": "started", "at": datetime.now(UTC), **facts}))
    error: str | None = None
    try:
        yield
    except BaseException as failure:
        error = f"{type(failure).__name__}: {failure}".splitlines()[0]
        raise
    finally:
        measured = {
            "event": "failed" if error else "finished",
            "at": datetime.now(UTC),
            "error": error,
            "seconds": round(time.monotonic() - began, 3),
            "peak_vram_gib": _peak_vram_gib(),
            "peak_ram_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
            "versions": _versions(),
        }
        journal.append(StageRun.model_validate({**facts, **measured}))


def _peak_vram_gib() -> float | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return round(float(torch.cuda.max_memory_reserved()) / 2**30, 3)


def _versions() -> dict[str, str]:
    found = {}
    for name in _VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def main(argv: list[str] | None = None) -> int:
    """Runs the stage named on the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m flenwheel_core.runner.worker", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("stage")
    parser.add_argument("request", type=Path, help="the request, JSON")
    parser.add_argument("result", type=Path, help="where the result, or the error, is written, JSON")
    parser.add_argument("--memory-level", type=int, default=0, help="each level asks for a tighter memory plan")
    parser.add_argument("--with-parent", action="store_true", help="stop when the starting process is gone")
    arguments = parser.parse_args(argv)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    if arguments.with_parent:
        when_parent_is_gone(stop.set)  # so that no orphan keeps the card for hours
    logging.captureWarnings(True)
    try:
        settings = Settings()
        for module in settings.stage_modules:
            importlib.import_module(module)
        stage = find_stage(arguments.stage)
        request = _read_request(stage, arguments.request)
        leave_out_card_libraries(settings, request)
        progress = Progress(stage.name, print_event)
        with hearing(progress.note):
            result = run_stage(stage, request, settings, progress, memory_level=arguments.memory_level, stop=stop)
        arguments.result.write_bytes(result.to_bytes())
        return EXIT_DONE
    except Exception as error:
        return report(arguments.result, error)


def leave_out_card_libraries(settings: Settings, request: StageRequest) -> None:
    """A process without a card starts without bitsandbytes, which diffusers and PEFT import wherever they find it.

    With it come PyTorch's compiler and a quarter of all that a stage imports. Only its optimizer computes off a card.
    """
    if settings.gpu == "cpu" and not trains_in_8_bit(request):
        cast("dict[str, object]", sys.modules).setdefault("bitsandbytes", None)


def trains_in_8_bit(request: StageRequest) -> bool:
    """True for a training whose optimizer is one of bitsandbytes."""
    return isinstance(request, _Training) and request.recipe.optimizer == "adamw8bit"


def _read_request(stage: AnyStage, path: Path) -> StageRequest:
    try:
        return stage.request.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"There is no request file {path}.") from error
    except ValidationError as error:
        raise InputError(f"{path} is no request of the stage {stage.name}.", why=str(error)) from error


def print_event(event: ProgressEvent) -> None:
    """One line of the worker's protocol."""
    try:
        print(event.model_dump_json(exclude_none=True), flush=True)  # noqa: T201 - the worker's protocol
    except BrokenPipeError:
        return


def report(path: Path, error: Exception) -> int:
    """Writes what went wrong for the parent to raise again, and returns the exit code that says whether to retry."""
    if not isinstance(error, FlenwheelError) and is_out_of_memory(error):
        error = OutOfMemoryError("The card ran out of memory.", why=first_line(error))
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        error = RetryableError(
            f"The disk is full{f': {error.filename} could not be written' if error.filename else ''}.",
            why="what was finished before is kept.",
            remedy="Free some space (`flenwheel gc` shows what nothing needs any more), then retry the run.",
        )
    if isinstance(error, FlenwheelError):
        described = {"error": type(error).__name__, "what": error.what, "why": error.why, "remedy": error.remedy}
        code = error.exit_code
    else:
        trace = traceback.format_exc()
        sys.stderr.write(trace)
        described = {"error": "", "what": f"{type(error).__name__}: {error}", "why": trace, "remedy": ""}
        code = EXIT_MAY_RETRY if isinstance(error, OSError) else EXIT_DO_NOT_RETRY
    try:
        path.write_text(json.dumps(described))
    except OSError:
        sys.stderr.write(described["what"] + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
