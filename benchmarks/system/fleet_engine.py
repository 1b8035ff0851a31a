"""Events in order of time, and servers with queues by priority: all that the simulation of a fleet stands on.

Exact for what queueing theory has answers to; tests/benchmarks/system/test_fleet_simulation.py holds it against them.
"""

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol


class Clock:
    """Does things when their time has come; what falls on the same instant happens in the order it was asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._asked = 0

    def after(self, seconds: float, act: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (self.now + seconds, self._asked, act, arguments))
        self._asked += 1

    def run(self, until: float) -> None:
        """Everything up to that instant."""
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, act, arguments = heapq.heappop(events)
            act(*arguments)
        self.now = until


class Job(Protocol):
    """What a server works on."""

    priority: int
    """0 goes first."""

    def begin(self, server: int) -> float:
        """Seconds it will take on this server if nothing happens."""

    def end(self) -> None:
        """It is done."""

    def lost(self, seconds: float) -> None:
        """Its server went away after so many seconds of work. The pool forgets the job; whoever owns it asks again."""


class Pool:
    """Servers of several classes. A free one takes the oldest job of the first priority that has any; no job pushes another out."""

    def __init__(self, clock: Clock, classes: Mapping[str, int], taste: Sequence[Sequence[str]]) -> None:
        """`taste`: for each priority, the classes in the order in which it takes free servers."""
        self._clock = clock
        self._class_of = [name for name, number in classes.items() for _ in range(number)]
        self._taste = taste
        self._queues: list[deque[Job]] = [deque() for _ in taste]
        # Dictionaries as sets that keep their order: the same seed has to give the same run.
        self._idle: dict[str, dict[int, None]] = {name: {} for name in classes}
        self._busy: dict[int, tuple[Job, float, int]] = {}
        self._leaving: set[int] = set()
        self._here = [True] * len(self._class_of)
        self._begun = 0
        self._changed = 0.0
        self.busy_seconds = 0.0
        """Server time that jobs have had, lost ones too."""
        self.queued_seconds = 0.0
        """Integral of the number of waiting jobs over time."""
        for server, name in enumerate(self._class_of):
            self._idle[name][server] = None

    @property
    def queued(self) -> int:
        return sum(map(len, self._queues))

    @property
    def at_work(self) -> int:
        return len(self._busy)

    def busy_until_now(self) -> float:
        """As `busy_seconds`, with what jobs at work have had so far."""
        return self.busy_seconds + sum(self._clock.now - began for _, began, _ in self._busy.values())

    def queued_until_now(self) -> float:
        """As `queued_seconds`, up to now."""
        self._count()
        return self.queued_seconds

    def class_of(self, server: int) -> str:
        return self._class_of[server]

    def ask(self, job: Job, *, first: bool = False) -> None:
        """A free server takes the job at once; otherwise it waits behind others of its priority, or before them."""
        for name in self._taste[job.priority]:
            if self._idle[name]:
                server, _ = self._idle[name].popitem()
                self._start(server, job)
                return
        self._count()
        queue = self._queues[job.priority]
        if first:
            queue.appendleft(job)
        else:
            queue.append(job)

    def take_away(self, server: int) -> None:
        """The server is gone, as after a failure: what it worked on is lost."""
        self._here[server] = False
        self._idle[self._class_of[server]].pop(server, None)
        if server in self._busy:
            job, began, _ = self._busy.pop(server)
            self.busy_seconds += self._clock.now - began
            job.lost(self._clock.now - began)

    def let_go(self, server: int) -> None:
        """The server leaves, as at the end of a shift: it ends what it works on."""
        if server in self._busy:
            self._leaving.add(server)
        else:
            self._here[server] = False
            self._idle[self._class_of[server]].pop(server, None)

    def bring(self, server: int) -> None:
        """The server is there again."""
        self._leaving.discard(server)
        if not self._here[server]:
            self._here[server] = True
            self._next(server)

    def _start(self, server: int, job: Job) -> None:
        self._begun += 1
        self._busy[server] = (job, self._clock.now, self._begun)
        self._clock.after(job.begin(server), self._ended, server, self._begun)

    def _ended(self, server: int, number: int) -> None:
        if server not in self._busy or self._busy[server][2] != number:
            return  # the server went away before
        job, began, _ = self._busy.pop(server)
        self.busy_seconds += self._clock.now - began
        job.end()
        if server in self._leaving:
            self._leaving.discard(server)
            self._here[server] = False
        else:
            self._next(server)

    def _next(self, server: int) -> None:
        for queue in self._queues:
            if queue:
                self._count()
                self._start(server, queue.popleft())
                return
        self._idle[self._class_of[server]][server] = None

    def _count(self) -> None:
        """Called before the number of waiting jobs changes."""
        self.queued_seconds += self.queued * (self._clock.now - self._changed)
        self._changed = self._clock.now
