"""Who holds a GPU slot's kernel lock."""

import fcntl
import json
from pathlib import Path


def holder_of(lock: Path) -> str | None:
    """A sentence about the process that holds the lock; None if it is free. The kernel frees it when its holder dies."""
    try:
        with lock.open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _describe(file.read())
    except FileNotFoundError:
        return None
    return None


def _describe(text: str) -> str:
    try:
        facts = json.loads(text)
        return f"process {facts['pid']}, stage {facts['stage']}, workspace {facts['workspace']}"
    except (ValueError, KeyError, TypeError):
        return "a process that just took it"
