"""Ends the process of a run that another machine has taken over.

A machine that was cut off, or stood still, for longer than the lease loses its runs to others. Its processes know nothing of it: as soon as
the server answers again, this one leaves without a word, so that it cannot change the state of a run that is another's by now. Its stage
sees that its parent is gone, saves, and ends.
"""

import os
import threading
from collections.abc import Callable

from deployments.prefect.api import FlowRun, open_api
from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.base.settings import Settings

LEFT = 0
"""The exit code: any other one, and the worker would mark the run as crashed."""


class Fence:
    """What one process knows of its run."""

    def __init__(self, worker: str, pid: int) -> None:
        self._worker = worker
        self._pid = str(pid)
        self._was_ours = False

    def is_outside(self, run: FlowRun) -> bool:
        """True if the run is no longer this process's: another worker took it, or this worker started it again.

        A worker writes the process id on the run some moments after it started the process; before that it is that of an earlier one.
        """
        written = (run.infrastructure_pid or "").rpartition(":")[2]
        self._was_ours = self._was_ours or written == self._pid
        if run.worker is not None and run.worker != self._worker:
            return True
        taken_back = run.state is not None and run.state.type == "SCHEDULED"
        return self._was_ours and (written != self._pid or taken_back)


def leave_when_taken_over(
    settings: Settings, flow_run: str, worker: str, *, leave: Callable[[int], object] = os._exit
) -> None:
    """Looks every few seconds, in a thread of its own, for as long as this process lives."""
    fence, api = Fence(worker, os.getpid()), open_api(settings, patience_seconds=1)

    def look() -> bool:
        try:
            return fence.is_outside(api.run(flow_run))
        except FlenwheelError:
            return False  # the server is away; that is no reason to stop

    threading.Thread(target=_watch, args=(look, settings.lease_seconds / 8, leave), daemon=True).start()


def _watch(look: Callable[[], bool], seconds: float, leave: Callable[[int], object]) -> None:
    pause = threading.Event()
    while not pause.wait(min(15.0, max(1.0, seconds))):
        if look():
            leave(LEFT)
            return
