"""Progress of a stage in the Prefect interface: log lines and one progress artifact, both from the same events."""

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger

from flenwheel_core.base.progress import ProgressEvent

LOG_SECONDS = 20.0
ARTIFACT_SECONDS = 1.0
MEASURED_SECONDS = 120.0
"""After so long a stage's speed is told for the first time."""

Measured = Callable[[float], None]
"""Takes seconds an item."""


def say(line: str, level: int = logging.INFO) -> None:
    """A line in the run's log; in the program's own where no run is under way."""
    try:
        logger = get_run_logger()
    except MissingContextError:
        logger = get_logger(__name__)
    logger.log(level, line)


class Reporter:
    """Takes events without ever waiting for the server: a slow or absent server must not slow a stage down."""

    def __init__(self, key: str, measured: Measured | None = None) -> None:
        """`measured` hears how fast the stage is, after the first minutes and at its end."""
        self._key = key
        self._measured = measured
        self._began: float | None = None
        self._told = False
        self._logger = get_run_logger()
        self._logged = 0.0
        self._latest: ProgressEvent | None = None
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._artifact: UUID | None = None

    def __call__(self, event: ProgressEvent) -> None:
        """Takes an event: notes are logged at once, steps now and then."""
        now = time.monotonic()
        finished = event.total > 0 and event.done == event.total
        if event.kind != "step" or finished or now - self._logged >= LOG_SECONDS:
            self._logged = now
            self._logger.info(event.line())
        if event.kind != "done":
            self._latest = event
            self._wake.set()

    def close(self) -> None:
        """The last event still reaches the artifact."""
        self._closed.set()
        self._wake.set()

    def follow(self) -> None:
        """Carries the latest event to the artifact until closed; runs in a thread of its own."""
        while True:
            self._wake.wait()
            self._wake.clear()
            event, self._latest = self._latest, None
            if event is not None:
                try:
                    self._show(event)
                    self._tell_speed(event)
                except Exception:
                    get_logger(__name__).debug("progress artifact not updated", exc_info=True)
            if self._closed.wait(ARTIFACT_SECONDS) and self._latest is None:
                return

    def _tell_speed(self, event: ProgressEvent) -> None:
        if event.kind != "step" or self._measured is None:
            return
        self._began = self._began or time.monotonic()
        first = not self._told and time.monotonic() - self._began >= MEASURED_SECONDS
        if event.rate and (first or event.done == event.total):
            self._told = True
            self._measured(1 / event.rate)

    def _show(self, event: ProgressEvent) -> None:
        share = 100 * event.done / event.total if event.total else 0.0
        if self._artifact is None:
            created = create_progress_artifact(progress=share, key=self._key, description=event.line())
            assert isinstance(created, UUID)
            self._artifact = created
        else:
            update_progress_artifact(artifact_id=self._artifact, progress=share, description=event.line())


@contextmanager
def reporting(key: str, measured: Measured | None = None) -> Iterator[Reporter]:
    """A reporter whose artifact belongs to the current task run; `measured` as in `Reporter`."""
    reporter = Reporter(key, measured)
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(reporter.follow), name="progress", daemon=True)
    thread.start()
    try:
        yield reporter
    finally:
        reporter.close()
        thread.join(timeout=3)
