"""Waiting for an address without being deaf: a stop is heard while it is asked, and between two tries."""

import threading
from collections.abc import Callable
from queue import Empty, Queue
from typing import TypeVar

from flenwheel_core.base.errors import InterruptedStageError

Answer = TypeVar("Answer")

LOOK_SECONDS = 0.2
GRACE_SECONDS = 40.0
"""How long an edit that is under way is waited for after a stop: it is paid. Less than a stage is given to save (`runner/launch.py`)."""


def answer_of(ask: Callable[[], Answer], stop: threading.Event, *, grace_seconds: float = GRACE_SECONDS) -> Answer:
    """What `ask` gives or raises; it runs in a thread of its own.

    Raises InterruptedStageError if a stop came and `ask` needs longer than the grace; the thread then ends with the process.
    """
    answers: Queue[tuple[Answer | None, BaseException | None]] = Queue()

    def run() -> None:
        try:
            answers.put((ask(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=run, name="asking", daemon=True).start()
    while True:
        stopping = stop.is_set()
        try:
            found, error = answers.get(timeout=grace_seconds if stopping else LOOK_SECONDS)
        except Empty:
            if stopping:
                raise stopped() from None
            continue
        if error is not None:
            raise error
        return found  # type: ignore[return-value]


def pause(seconds: float, stop: threading.Event) -> None:
    """Waits so long. Raises InterruptedStageError once the stage is told to stop."""
    if stop.wait(seconds):
        raise stopped()


def stopped() -> InterruptedStageError:
    """What a stage raises that was told to stop while it waited for an address."""
    return InterruptedStageError(
        "The stage was stopped while it waited for an edit; the edits that were made are kept.",
        remedy="Run it again: it goes on where it stopped.",
    )
