"""Who holds a GPU slot's kernel lock."""

import json
from pathlib import Path

from flenwheel_core.base.locks import held_by


def holder_of(lock: Path) -> str | None:
    """A sentence about the process that holds the lock; None if it is free. The kernel frees it when its holder dies."""
    said = held_by(lock)
    return None if said is None else _describe(said)


def _describe(text: str) -> str:
    try:
        facts = json.loads(text)
        return f"process {facts['pid']}, stage {facts['stage']}, workspace {facts['workspace']}"
    except (ValueError, KeyError, TypeError):
        return "a process that just took it"
