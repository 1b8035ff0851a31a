"""Keeps service processes running, and does now and then what must be done, until it is told to stop."""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from deployments.workspace.processes import Child
from flenwheel_core.base.errors import FlenwheelError, ServerError

Say = Callable[[str], None]
LOOK_SECONDS = 0.5
YOUNG_SECONDS = 2.0
DUTY_STOP_SECONDS = 5.0
"""What is done in a thread of its own has so long to come to an end at a stop; then it ends with the process."""


@dataclass
class Duty:
    """Something to do every so many seconds; it returns lines about what it did."""

    act: Callable[[], Sequence[str]]
    seconds: float
    apart: bool = False
    """Done in a thread of its own: however long it takes, children are tended and other duties done meanwhile."""
    busy: bool = False
    done_at: float = field(default=-1e9)
    said: str = ""
    """Why it could not be done the last time; empty if it was done. Said once, however often it is tried."""

    def is_due(self) -> bool:
        return not self.busy and time.monotonic() - self.done_at >= self.seconds


@dataclass(frozen=True)
class Answers:
    """How it is known that a process is ready, and how long that may take."""

    ready: Callable[[], bool]
    seconds: float


@dataclass(frozen=True)
class _Kept:
    child: Child
    stop_seconds: float
    needed: bool
    answers: Answers | None


class Keeper:
    """Started children are started again when they end; duties are done in turn."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._stop = threading.Event()
        self._children: list[_Kept] = []
        self._starting = False
        self.duties: list[Duty] = []

    def start(
        self, child: Child, *, stop_seconds: float, needed: bool = False, answers: Answers | None = None
    ) -> Child:
        """Starts it, and keeps it until `stop`, which gives it so long to end; `needed`: by the others, so it is told after them.

        Where it is said how it answers, that is waited for whenever it is started again, before anything else is looked at.
        """
        self._children.append(_Kept(child, stop_seconds, needed, answers))
        child.start()
        return child

    def listen(self) -> None:
        """Ends `run` on Ctrl-C and SIGTERM; breaks off a start that is under way."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        self._starting = True

    def _on_signal(self, number: int, frame: object) -> None:
        breaks_off = self._starting and not self._stop.is_set()
        self._stop.set()
        if breaks_off:
            raise KeyboardInterrupt

    def started(self) -> None:
        """From now on a signal breaks nothing off: `run` ends at its next look."""
        self._starting = False

    def run(self) -> None:
        """Until a signal."""
        self.started()
        while not self._stop.wait(LOOK_SECONDS):
            self.tend()

    def tend(self) -> None:
        """One look."""
        for one in self._children:
            if not one.child.alive():
                self._start_again(one.child, one.answers)
        for duty in self.duties:
            if not duty.is_due():
                continue
            duty.busy = True
            if duty.apart:
                threading.Thread(target=self._do, args=(duty,), name="duty", daemon=True).start()
            else:
                self._do(duty)

    def _start_again(self, child: Child, answers: Answers | None) -> None:
        if time.monotonic() - child.started < YOUNG_SECONDS:
            self._stop.wait(YOUNG_SECONDS)
        self._say(f"The {child.name} ended unexpectedly; starting it again (log: {child.log}).")
        child.start()
        if answers is not None:
            try:
                child.wait_until(lambda: self._stop.is_set() or answers.ready(), answers.seconds)
            except ServerError as error:
                self._say(error.message)

    def _do(self, duty: Duty) -> None:
        try:
            for line in duty.act():
                self._say(line)
            duty.said = ""
        except FlenwheelError as error:
            if error.message != duty.said and not self._stop.is_set():  # what ends meanwhile does not answer any more
                self._say(error.message)
            duty.said = error.message
        finally:
            duty.done_at = time.monotonic()
            duty.busy = False

    def stop(self) -> None:
        """Ends every child. All are told at once, so that together they take no longer than the slowest; what they need goes last."""
        for needed in (False, True):
            group = [one for one in reversed(self._children) if one.needed is needed]
            for one in group:
                one.child.ask_to_end()
            began = time.monotonic()
            for one in group:
                one.child.wait_for_end(began + one.stop_seconds - time.monotonic())
        end = time.monotonic() + DUTY_STOP_SECONDS
        while any(duty.busy for duty in self.duties) and time.monotonic() < end:
            time.sleep(0.05)
