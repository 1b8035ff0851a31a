"""Processes that end with the one that started them, however that one ended."""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
LOOK_SECONDS = 1.0


def when_parent_is_gone(act: Callable[[], None], parent: int | None = None) -> None:
    """Calls `act` once, within about a second, when whoever started this process is gone.

    `parent` is its process id, where it was told: then one that ended before this call is noticed too.
    """
    known = os.getppid() if parent is None else parent

    def watch() -> None:
        while os.getppid() == known:
            time.sleep(LOOK_SECONDS)
        act()

    threading.Thread(target=watch, daemon=True).start()


def leave_with_parent(parent: int | None = None) -> None:
    """Ends this process, without any cleaning up, when whoever started it is gone."""
    when_parent_is_gone(lambda: os._exit(1), parent)


def ended_with_parent() -> Callable[[], None] | None:
    """For `preexec_fn`: the kernel sends a child SIGTERM as soon as its parent is gone, whatever the child runs. Linux only."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
