"""A stage in the process of the test, as its worker runs it: with locks, records and the store.

It spares the seconds that a new process takes.
"""

import threading
from typing import TypeVar, cast

from flenwheel_core.base.progress import Progress, Sink
from flenwheel_core.base.settings import Settings
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.runner.stage import Stage
from flenwheel_core.runner.worker import AnyStage, run_stage

Request = TypeVar("Request", bound=StageRequest)
Result = TypeVar("Result", bound=StageResult)


def run_here(stage: Stage[Request, Result], request: Request, settings: Settings, sink: Sink) -> Result:
    """What `run_in_child` gives, whatever the stage left in the memory of this process."""
    progress = Progress(stage.name, sink)
    found = run_stage(cast(AnyStage, stage), request, settings, progress, memory_level=0, stop=threading.Event())
    return cast(Result, found)
