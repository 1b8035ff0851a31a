"""A stage in this process: for benchmarks that run many small ones, each in a process of its own already."""

import threading
from typing import TypeVar, cast

from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.runner.stage import Stage
from flenwheel_core.runner.worker import run_stage

Request = TypeVar("Request", bound=StageRequest)
Result = TypeVar("Result", bound=StageResult)


def stage_here(stage: Stage[Request, Result], request: Request, settings: Settings) -> Result:
    """The stage's result, made or found. Raises what the stage raises; nothing is told of its progress."""
    made = run_stage(
        cast("Stage[StageRequest, StageResult]", stage),
        request,
        settings,
        Progress(stage.name, lambda event: None),
        memory_level=0,
        stop=threading.Event(),
    )
    return cast("Result", made)
