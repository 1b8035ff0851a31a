"""Small real stages for tests of everything around stages: they run in the real worker process."""

import os
import signal
import time
from pathlib import Path

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import InputError, OutOfMemoryError
from flenwheel_core.memory.levels import plan_at_level
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.runner.stage import Stage, StageContext, register


class CountRequest(StageRequest):
    """Counts to `number`, one item at a time."""

    stage = "count"

    number: int = 3
    seconds_each: float = 0.0
    kill_at: int | None = None
    """Kills its own process before this item, once."""
    fail: str | None = None
    name: str = ""


class CountResult(StageResult):
    counted: tuple[int, ...]
    memory_level: int


class Counted(Document):
    number: int


def count(request: CountRequest, context: StageContext) -> CountResult:
    """Resumes item by item, like every stage that makes many things."""
    if request.fail == "user":
        raise InputError("The picture is upside down.", why="it was held so.", remedy="Turn it.")
    if request.fail == "defect":
        raise ZeroDivisionError("a defect")
    if request.fail == "memory" and context.memory_level < 2:
        raise OutOfMemoryError("The card ran out of memory.")
    if request.fail == "always memory":
        plan_at_level([3.0, 2.0, 1.0], lambda need: need, context.memory_level)
        raise OutOfMemoryError("The card ran out of memory.")
    items = context.store.stage_items(request, Counted)
    done = [item.number for item in items.read()]
    made = context.scratch / "made"
    for number in range(request.number):
        context.check_stop()
        if number in done:
            continue
        if request.kill_at == number and not (context.scratch / "killed").exists():
            (context.scratch / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(request.seconds_each)
        with made.open("a") as file:
            file.write(f"{number}\n")
        items.append(Counted(number=number))
        context.progress.step(number + 1, request.number)
    return CountResult(counted=tuple(item.number for item in items.read()), memory_level=context.memory_level)


COUNT = register(Stage(CountRequest, CountResult, "tests.kit.stages:count", uses_gpu=True))


def made_items(scratch: Path, request: CountRequest) -> list[int]:
    """What the stage really made, in order; an item made twice would show twice."""
    path = scratch / "count" / request.key() / "made"
    return [int(line) for line in path.read_text().split()] if path.exists() else []
