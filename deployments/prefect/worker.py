"""Prefect's worker with a limit that holds: `python -m deployments.prefect.worker worker start ... --limit N`.

A run whose gate was answered at once, or that was given back, is offered again while its last process still ends. Prefect 3.8.8's worker
then asks its limiter for a second place for the same run, which is an error there: the worker ends, and all of its runs crash. Here it
leaves such a run until its process has ended.
"""

import runpy
from collections.abc import Callable
from functools import wraps
from typing import Any

from prefect.workers.base import BaseWorker


def leave_runs_that_still_end(worker: type[Any] = BaseWorker) -> None:
    """From now on, workers of this process take no run that holds one of their places."""
    worker._submit_scheduled_flow_runs = _without_held(worker._submit_scheduled_flow_runs)


def _without_held(submit: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(submit)
    async def submit_others(self: Any, flow_run_response: list[Any]) -> Any:
        held = self._limiter.statistics().borrowers if self._limiter else ()
        return await submit(self, [entry for entry in flow_run_response if entry.flow_run.id not in held])

    return submit_others


if __name__ == "__main__":
    leave_runs_that_still_end()
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
