"""A decoder: a process that reads pictures for another one, each within its time and memory.

It is started by `decoders`, with a socket as its standard input. It knows no settings and no secrets, and ends with whoever started it.
Not covered: a decoder that a picture takes over completely; it has the rights of the user who runs it.
"""

import argparse
import math
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flenwheel_core.base.errors import FlenwheelError, InputError
from flenwheel_core.base.locks import FileLock
from flenwheel_core.base.processes import leave_with_parent
from flenwheel_core.images.messages import Found, Job, Refused, Sign, receive, send
from flenwheel_core.images.names import printable_name
from flenwheel_core.images.reading import read_picture

HEADER_SECONDS = 5
"""Processor time until width and height are known."""
SECONDS_PER_MEGAPIXEL = 0.2
"""Further time for the pixels; ordinary pictures take a tenth of it."""
HEADER_BYTES = 768 * 2**20
"""Memory beside the file itself: libraries, palettes, profiles, text."""
BYTES_PER_PIXEL = 22
"""Further memory; a JPEG takes 8, a WebP 21."""
LARGE_PIXELS = 40_000_000
"""Pictures with more are read one at a time on a machine: a few at once would take all of its memory."""
KEPT_BYTES = 300 * 2**20
"""A decoder that holds more memory after a picture is not kept."""
ADDRESSES, RESIDENT = 0, 1
"""Fields of /proc/self/statm."""


def seconds_for(pixels: int) -> int:
    """Processor time that a picture of this many pixels is given."""
    return HEADER_SECONDS + math.ceil(pixels / 1e6 * SECONDS_PER_MEGAPIXEL)


def serve(connection: socket.socket, turn: Path) -> None:
    """Reads one picture after the other until nobody asks for more."""
    send(connection, Sign(state="ready"))
    while True:
        job, block = receive(connection, 2**34)
        assert isinstance(job, Job)
        data = bytes(block)
        del block
        with large_turn(turn) as wait_for_turn:
            if not _read(connection, job, data, wait_for_turn):
                return


def _read(connection: socket.socket, job: Job, data: bytes, wait_for_turn: "Turn") -> bool:
    """Answers a job. False if this was the last one."""

    def begin(width: int, height: int) -> None:
        pixels = width * height
        if pixels > LARGE_PIXELS:
            send(connection, Sign(state="waiting", pixels=pixels))
            wait_for_turn.take()
        _limit_time(seconds_for(pixels))
        limit_memory(HEADER_BYTES + len(data) + pixels * BYTES_PER_PIXEL)
        send(connection, Sign(state="began", pixels=pixels))

    _limit_time(HEADER_SECONDS)
    limit_memory(HEADER_BYTES + len(data))
    try:
        decoded = read_picture(data, job.name, job.limits, begin)
        pixels = decoded.image.tobytes() if job.pixels else b""
    except FlenwheelError as error:
        send(connection, Refused.of(error))
        return True
    except MemoryError:
        send(connection, Refused.of(InputError(f"{printable_name(job.name)} needs more memory than a picture may.")))
        return False
    finally:
        limit_memory(None)
    # Not the peak that getrusage tells: that of a new process begins with the memory of the one that started it.
    last = _memory_bytes(RESIDENT) > KEPT_BYTES
    send(connection, Found.of(decoded, last=last), pixels)
    return not last


class Turn:
    """The one place for a large picture on this machine: a kernel lock, free again whenever its holder ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: FileLock | None = None

    def take(self) -> None:
        """Waits until no other large picture is being read. Where nobody can lock (a read-only disk), nobody waits."""
        with suppress(OSError):
            self._lock = FileLock(self._path)
            self._lock.take()

    def give_back(self) -> None:
        if self._lock is not None:
            self._lock.close()


@contextmanager
def large_turn(path: Path) -> Iterator[Turn]:
    """A place that can be taken once the picture turns out to be large; given back at the end."""
    turn = Turn(path)
    try:
        yield turn
    finally:
        turn.give_back()


def _limit_time(seconds: int) -> None:
    """The kernel ends this process (SIGXCPU) when it has used that much more processor time."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    until = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (until if hard == resource.RLIM_INFINITY else min(until, hard), hard))


def limit_memory(more_bytes: int | None) -> None:
    """Allocations beyond what this process has now and `more_bytes` fail; None lifts the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = resource.RLIM_INFINITY if more_bytes is None else _memory_bytes(ADDRESSES) + more_bytes
    if hard != resource.RLIM_INFINITY:
        limit = hard if limit == resource.RLIM_INFINITY else min(limit, hard)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _memory_bytes(field: int) -> int:
    """Memory of this process as the kernel counts it; 0 where it does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[field]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()


def main(argv: list[str] | None = None) -> int:
    """Serves the socket that is standard input."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("parent", type=int, help="process that started this one")
    parser.add_argument("turn", type=Path, help="lock file of large pictures")
    arguments = parser.parse_args(argv)
    # Ctrl-C in a terminal reaches every process of it; the one that started this one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    leave_with_parent(arguments.parent)
    with socket.socket(fileno=os.dup(0)) as connection, suppress(EOFError, ConnectionError):
        serve(connection, arguments.turn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
