"""Runs a stage in a child process: a clean CUDA context each time, and a crash that takes nothing else down."""

import itertools
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TypeVar

from flenwheel_core.base.errors import (
    BY_NAME,
    EXIT_DONE,
    EXIT_MAY_RETRY,
    FlenwheelError,
    InterruptedStageError,
    OutOfMemoryError,
    RetryableError,
)
from flenwheel_core.base.progress import ProgressEvent, Sink, parse_event
from flenwheel_core.base.settings import NOT_FOR_STAGES, Settings
from flenwheel_core.base.settings_sources import PREFIX
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.runner.stage import Stage
from flenwheel_core.runner.stage_process import StageProcess, prepare_stage, start_stage
from flenwheel_core.runner.worker import trains_in_8_bit
from flenwheel_core.store import Store

Request = TypeVar("Request", bound=StageRequest)
Result = TypeVar("Result", bound=StageResult)

MOST_MEMORY_LEVELS = 6
"""A guard: families end with NoTighterPlanError before."""
STOP_SECONDS = 60
"""How long a stage may take to save when it is told to stop."""
SPINS = 1000
"""How long OpenMP's threads spin before they sleep. Threads that spin long starve whatever else wants the cores; threads that never spin
sleep between the short operators of small models."""


Attempt = Callable[[int], AbstractContextManager[Mapping[str, str]]]
"""What is held around each attempt at a stage, for its memory level; gives further variables for the stage's process."""


def run_in_child(
    stage: Stage[Request, Result],
    request: Request,
    settings: Settings,
    sink: Sink,
    *,
    flow_run: str | None = None,
    attempt: Attempt | None = None,
) -> Result:
    """The result of a request, made in a child process if it is not there yet.

    A stage that runs out of memory is run again with a tighter memory plan, as long as there is one, from what it finished. Raises the
    stage's own error, or RetryableError if the process was killed.
    """
    store = Store(settings.store_url, settings.store_options)
    done = store.get_result(request, stage.result)
    if done is not None:
        return done
    for memory_level in itertools.count():
        try:
            with attempt(memory_level) if attempt is not None else nullcontext({}) as more:
                environment = {**child_environment(settings, flow_run), **more}
                return _run_once(stage, request, settings, sink, environment, memory_level=memory_level)
        except OutOfMemoryError as error:
            if memory_level == MOST_MEMORY_LEVELS:
                raise
            cause = error.why or error.what
            text = f"out of memory: trying again with tighter memory plan {memory_level + 1} ({cause})"
            sink(ProgressEvent(stage=stage.name, kind="note", text=text))
    raise AssertionError("the loop ends with a result or an error")


def _run_once(
    stage: Stage[Request, Result],
    request: Request,
    settings: Settings,
    sink: Sink,
    environment: Mapping[str, str],
    *,
    memory_level: int,
) -> Result:
    settings.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="stage-", dir=settings.root) as folder:
        request_path, result_path = Path(folder) / "request.json", Path(folder) / "result.json"
        request_path.write_bytes(request.to_bytes())
        argv = [stage.name, str(request_path), str(result_path), "--memory-level", str(memory_level), "--with-parent"]
        process = start_stage(
            argv,
            environment,
            card=settings.gpu != "cpu",
            ahead=settings.import_ahead and (settings.gpu != "cpu" or not trains_in_8_bit(request)),
        )
        code, tail = _follow(process, sink)
        if code == EXIT_DONE:
            return stage.result.from_bytes(result_path.read_bytes(), where=f"the result of {stage.name}")
        raise error_of(stage.name, code, result_path, tail)


def prepare(settings: Settings) -> None:
    """Begins to import what stages need, in a process of its own, for a caller that will soon run one.

    Only a gain in time: where no process can be started just now, nothing happens.
    """
    if settings.import_ahead:
        with suppress(OSError):
            prepare_stage(child_environment(settings, None), card=settings.gpu != "cpu")


def preparing_next(sink: Sink, settings: Settings) -> Sink:
    """Once a stage is at work, the libraries of the one after it are imported: most stages are followed by another."""
    prepared = False

    def hear(event: ProgressEvent) -> None:
        nonlocal prepared
        if event.kind == "step" and event.done and not prepared:
            prepared = True
            prepare(settings)
        sink(event)

    return hear


def child_environment(settings: Settings, flow_run: str | None) -> dict[str, str]:
    """The environment of a stage's process: this process's settings, whatever they came from."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    environment |= settings.environment(leave_out=NOT_FOR_STAGES)
    environment.setdefault("TORCHINDUCTOR_CACHE_DIR", str(settings.models / "compiled"))
    environment.setdefault("TORCHINDUCTOR_AUTOGRAD_CACHE_ALLOW_CUSTOM_AUTOGRAD", "1")  # ours are part of the graph
    if settings.threads is not None:
        environment["OMP_NUM_THREADS"] = str(settings.threads)
    if settings.gpu == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    elif settings.gpu != "auto":
        environment["CUDA_VISIBLE_DEVICES"] = settings.gpu
    if flow_run is not None:
        environment["FLENWHEEL_FLOW_RUN"] = flow_run
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", str(SPINS))
    environment.setdefault(
        "OPENBLAS_NUM_THREADS", "1"
    )  # NumPy's own threads: small matrices only, and a fork must have none
    environment["TOKENIZERS_PARALLELISM"] = "false"
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def _follow(process: StageProcess, sink: Sink) -> tuple[int, str]:
    """Hands on the child's progress until it ends; whatever ends this process's wait ends the child too, after it saved."""
    assert process.stdout is not None and process.stderr is not None
    errors: deque[str] = deque(maxlen=40)
    stderr = process.stderr
    reader = threading.Thread(target=lambda: errors.extend(stderr), daemon=True)
    reader.start()
    try:
        for line in process.stdout:
            event = parse_event(line)
            if event is not None:
                sink(event)
        code = process.wait()
    except BaseException:
        _stop(process)
        raise
    finally:
        reader.join(timeout=5)
        process.stdout.close()
        process.stderr.close()
    return code, "".join(errors)


def _stop(process: StageProcess) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def error_of(stage: str, code: int, result_path: Path, tail: str) -> FlenwheelError:
    """What a stage's process that ended with this exit code says went wrong."""
    try:
        described = json.loads(result_path.read_bytes())
    except (OSError, ValueError):
        described = None
    if described and described["error"]:
        kind = BY_NAME.get(described["error"], FlenwheelError)
        return kind(described["what"], why=described["why"], remedy=described["remedy"])
    if described:
        kind = RetryableError if code == EXIT_MAY_RETRY else FlenwheelError
        return kind(
            f"The stage {stage} failed: {described['what']}",
            why=described["why"],
            remedy="This is a defect of the program: please report it with the text above.",
        )
    if code == -signal.SIGTERM or code == -signal.SIGINT:
        return InterruptedStageError(
            f"The stage {stage} was stopped.", remedy="Run it again: it goes on where it stopped."
        )
    cause = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return RetryableError(
        f"The process of the stage {stage} died ({cause}).",
        why=tail.strip()[-2000:] or "it left no message; the kernel kills a process when memory runs out.",
        remedy="Retry the run: what is finished is kept, and training goes on from its checkpoint.",
    )
