"""Whose run a worker takes next: within a queue, characters share the workers, however many runs of one of them wait.

Prefect gives runs of a queue in the order in which they were scheduled: fifty trainings of one character would all go before a turn of
another. Here the character goes first of which the fewest runs work at present, on any machine; of several, one whose models lie on this
machine (`affinity.py`), though nobody is passed over for that twice, then the one that this worker served longest ago; of one character,
the oldest run. Queues keep their order. Every worker decides by itself from what the server knows, so nothing is shared between them; two
that look at the same moment may take two runs of one character, and the next looks right that.
"""

import itertools
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Run = TypeVar("Run")
NEVER = -1
LOOKED_AT = 16
"""Of so many owners who are equal, those whose turn it is first, it is asked whether their models lie here: a store is read for each."""


@dataclass(frozen=True)
class Waiting(Generic[Run]):
    """A run that waits."""

    run: Run
    queue: str
    owner: str
    """Who shares: its character; of work for all characters, the deployment."""


@dataclass
class Served:
    """Whom a worker served, in which order."""

    _turns: dict[str, int] = field(default_factory=dict)
    _count: int = 0
    _passed: set[str] = field(default_factory=set)

    def note(self, owner: str, waiting: Collection[str] = ()) -> None:
        """This owner was served; those who wait and were not served since it was were passed over."""
        self._passed |= {other for other in waiting if self.last(other) <= self.last(owner)}
        self._passed.discard(owner)
        self._count += 1
        self._turns[owner] = self._count

    def was_passed(self, owner: str) -> bool:
        """True if somebody went before it since it was served."""
        return owner in self._passed

    def last(self, owner: str) -> int:
        return self._turns.get(owner, NEVER)


def owner_of(parameters: Mapping[str, object], deployment: object) -> str:
    """Whom a run is for."""
    character = parameters.get("character")
    return character if isinstance(character, str) and character else f"deployment {deployment}"


def in_fair_order(
    waiting: Sequence[Waiting[Run]],
    working: Mapping[str, int],
    served: Served,
    most: int | None = None,
    near: Callable[[Run], bool] | None = None,
) -> list[Waiting[Run]]:
    """The same runs, the one to take first at the front, or the first `most` of them.

    `waiting` comes queue by queue, in each the oldest first. `working` counts the runs of each owner that work at present.
    A run that is put into the list counts as working for those after it. `near`: which runs go before their equals.
    """
    found: list[Waiting[Run]] = []
    busy = Counter(working)
    for queue in dict.fromkeys(one.queue for one in waiting):
        lines: dict[str, deque[Waiting[Run]]] = {}
        for one in waiting:
            if one.queue == queue:
                lines.setdefault(one.owner, deque()).append(one)
        while lines:
            # Of owners that are equal in all, the one whose oldest run came first: lines are in that order.
            turn = sorted(lines, key=lambda name: (busy[name], served.last(name)))
            owner = turn[0]
            if near is not None:
                # Nobody is passed over twice.
                first = itertools.takewhile(lambda name: not served.was_passed(name), turn[:LOOKED_AT])
                equals = [name for name in first if busy[name] == busy[owner]]
                owner = next((name for name in equals if near(lines[name][0].run)), owner)
            found.append(lines[owner].popleft())
            if len(found) == most:
                return found
            busy[owner] += 1
            if not lines[owner]:
                del lines[owner]
    return found
