"""Peaks of memory by Linux's own count of a process's pages.

`ru_maxrss` will not do for a process that another one started: it begins with what that one held before the new program took its place.
"""

import os
from collections.abc import Iterator
from pathlib import Path


def memory_mib(pid: int, field: str = "VmHWM") -> float:
    """A figure of the process, as of VmHWM its peak and of VmRSS what it holds now; 0 where it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith(f"{field}:")), 0.0)


def descendants() -> Iterator[int]:
    """The processes that this one started, and those that they started."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents.setdefault(parent, []).append(int(status.parent.name))
    waiting = list(parents.get(os.getpid(), ()))
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += parents.get(pid, ())
