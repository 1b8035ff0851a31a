"""One process of a training on several cards; `train_team` starts it.

Every process reads the request and the store by itself; the first one writes checkpoints, samples and the result.
"""

import os
import sys
import threading
from pathlib import Path

from flenwheel_core.base.errors import EXIT_DONE
from flenwheel_core.base.processes import when_parent_is_gone
from flenwheel_core.base.progress import Progress, ProgressEvent, hearing
from flenwheel_core.base.settings import Settings
from flenwheel_core.memory.card import limit_process
from flenwheel_core.requests.train import TrainRequest
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.runner.worker import print_event, report
from flenwheel_core.stages.train import train_here
from flenwheel_core.stages.train_team import STOP_FILE
from flenwheel_core.store import Store


class _StopFile(threading.Event):
    """Set when the stage's process says so, or is gone."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def is_set(self) -> bool:
        return super().is_set() or self._path.exists()


def main(arguments: list[str]) -> int:
    """The exit codes are the worker's."""
    request_file, result, scratch = (Path(argument) for argument in arguments[:3])
    stop = _StopFile(request_file.with_name(STOP_FILE))
    when_parent_is_gone(stop.set)
    try:
        from flenwheel_core.engine.team import Processes

        settings = Settings()
        request = TrainRequest.from_bytes(request_file.read_bytes(), where="the request")
        limit_process(settings, records_graphs=True, deterministic=request.recipe.deterministic)
        team = Processes(cpu=settings.gpu == "cpu", each_machine=request.recipe.gpus)
        progress = Progress("train", print_event if team.rank == 0 else _silent)
        store = Store(settings.store_url, settings.store_options)
        context = StageContext(store, settings, scratch, progress, int(arguments[3]), stop)
        with hearing(progress.note):
            made = train_here(request, context, team)
        if made is not None:
            result.write_bytes(made.to_bytes())
        team.leave()
        return EXIT_DONE
    except Exception as error:
        return report(result, error)


def _silent(event: ProgressEvent) -> None:
    return


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # a process group that broke would wait for its members here
