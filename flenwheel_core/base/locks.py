"""Kernel locks on files: the one place that takes them, and the one that looks whether somebody holds one.

A lock belongs to the open file. The kernel frees it at once when its holder ends, however it ends, so no lock is ever stale; the file
itself stays, and what is written in it is the holder's own. Who waits is woken in turn; libraries that lock files ask again and again
instead, and who asks at the wrong moment waits longer than the others.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

_CLOSED = -1


class FileLock:
    """An open file that can be locked, created with its folder if it is not there. Closing it frees the lock."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        """For what the file holds beside the lock. Nothing of it is changed here."""

    def take(self) -> None:
        """Waits until nobody else holds it."""
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def try_to_take(self) -> bool:
        """Takes it unless somebody holds it; True if it is held here now."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def note(self, text: str) -> None:
        """Writes in the file who holds it, for `held_by`."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, text.encode(), 0)

    def close(self) -> None:
        """Frees it. Closing it again changes nothing."""
        descriptor, self.descriptor = self.descriptor, _CLOSED
        if descriptor != _CLOSED:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def locked(path: Path) -> Iterator[FileLock]:
    """Held by one process, and one thread of it, at a time; others wait."""
    with FileLock(path) as lock:
        lock.take()
        yield lock


def held_by(path: Path) -> str | None:
    """What the file of a held lock says, perhaps nothing; None if nobody holds it.

    Several may look at once: they do not take each other for holders.
    """
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().decode(errors="replace")
    except FileNotFoundError:
        return None
    return None
