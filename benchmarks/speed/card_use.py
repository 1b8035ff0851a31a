"""What the driver counts for a process and all that it started: context, graphs and tensors, watched from outside."""

import os
import subprocess
import threading
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Self

MIB_IN_GIB = 1024
_QUERY = ("nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")
_SECONDS = 1.0
_LONGEST_ANSWER_SECONDS = 10.0


class CardWatch:
    """The peak of what this process's children hold of the card, asked once a second while it is entered.

    `peak_gib` stays None where nvidia-smi does not answer or, as in some containers, does not name our processes.
    """

    def __init__(self, *, without: Collection[int] = ()) -> None:
        self.peak_gib: float | None = None
        self._without = without
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_SECONDS):
            held = used_mib_by_pid()
            ours = started_by(os.getpid()) - set(self._without)
            found = [used for pid, used in held.items() if pid in ours]
            if found:
                self.peak_gib = max(self.peak_gib or 0.0, sum(found) / MIB_IN_GIB)


def used_mib_by_pid() -> dict[int, int]:
    """What nvidia-smi says of every process on the cards; nothing if there is no nvidia-smi, or no answer."""
    try:
        answer = subprocess.run(
            _QUERY, capture_output=True, text=True, timeout=_LONGEST_ANSWER_SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    used: dict[int, int] = {}
    for line in answer.splitlines():
        pid, _, mib = (part.strip() for part in line.partition(","))
        if pid.isdigit() and mib.isdigit():  # "[N/A]" otherwise
            used[int(pid)] = used.get(int(pid), 0) + int(mib)  # one line a card
    return used


def started_by(pid: int) -> set[int]:
    """The processes that a process started, and all that these started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            facts = (entry / "stat").read_text().rpartition(")")[2].split()  # a name may hold blanks and brackets
        except OSError:
            continue  # it ended meanwhile
        children.setdefault(int(facts[1]), []).append(int(entry.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        fresh = [child for child in children.get(waiting.pop(), []) if child not in found]
        found.update(fresh)
        waiting += fresh
    return found
