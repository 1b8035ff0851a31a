"""Starts stages by forking a process that has imported their libraries: `python -m flenwheel_core.runner.fork_server`.

A stage off a card spends most of its first seconds on imports (torch, diffusers, transformers); a fork has them at once. Every stage still
has a process of its own, and a crash takes nothing else down. The server computes nothing, because threads do not survive a fork; if
importing started any, it says so and serves nothing. Stages on a card are not forked: there importing diffusers starts a thread of the
driver. They run in a process that waited for them (`waiting`).

It speaks over the socket that is its standard input. A request is one message: a JSON object {"argv", "environment", "folder"}, and with it
three file descriptors: of standard output, of standard error, and of a pipe into which the process id goes and, after the end, the exit
code. The server ends when the other end is closed, or after `IDLE_SECONDS` without a stage.
"""

import atexit
import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, cast

from flenwheel_core.runner.libraries import import_libraries
from flenwheel_core.runner.stage_process import LARGEST_REQUEST, PADDING, READY
from flenwheel_core.runner.waiting import run_as_asked

IDLE_SECONDS = 120.0


def why_unfit() -> str:
    """Why this process must not be forked; empty if it may."""
    threads = len(list(Path("/proc/self/task").iterdir()))
    return f"{threads - 1} threads run beside the first one" if threads > 1 else ""


def serve(requests: socket.socket) -> Callable[[], int] | None:
    """Forks a stage for every request until the other end closes. Returns None then, and in a fork what that fork has to run."""
    running: dict[int, int] = {}
    ended, end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(end, warn_on_full_buffer=False)
    last = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while running or time.monotonic() - last < IDLE_SECONDS:
            for key, _ in selector.select(timeout=IDLE_SECONDS):
                if key.fileobj == ended:
                    os.read(ended, 4096)
                    _tell_ends(running)
                    last = time.monotonic()
                    continue
                message, descriptors, _flags, _address = socket.recv_fds(requests, LARGEST_REQUEST, 3)
                if not message:
                    return None
                output, errors, status = descriptors
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for other in (*running.values(), ended, end, status):
                        os.close(other)
                    requests.close()
                    return lambda: _stage(json.loads(message), output, errors)
                os.close(output)
                os.close(errors)
                running[pid] = status
                os.write(status, f"{pid}\n".encode())
    return None


def _tell_ends(running: dict[int, int]) -> None:
    """Writes the exit code of every stage that ended to whoever asked for it."""
    for pid in tuple(running):
        done, state = os.waitpid(pid, os.WNOHANG)
        if done:
            status = running.pop(pid)
            with suppress(BrokenPipeError):  # who asked is gone
                os.write(status, f"{os.waitstatus_to_exitcode(state)}\n".encode())
            os.close(status)


def _stage(request: dict[str, object], output: int, errors: int) -> int:
    """Runs a stage in a fork: its own standard streams, environment and command line."""
    for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (errors, 2)):
        os.dup2(source, target)
        os.close(source)
    _show_command(["python", "-m", "flenwheel_core.runner.worker", *cast("list[str]", request["argv"])])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return run_as_asked(request)


def _show_command(argv: list[str]) -> None:
    """Writes a command line over this process's own, for `ps`; shortened to the room that there is."""
    if PADDING not in sys.orig_argv:
        return
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end: fields 48 and 49, of which two are cut off
    room = end - start
    text = b"\0".join(part.encode() for part in argv)[: room - 1]
    ctypes.memmove(start, text + bytes(room - len(text)), room)


def main() -> int:
    """Imports, says whether stages can be forked from here, and forks them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the stages too, and they know what to do
    requests = socket.socket(fileno=0)
    import_libraries(card=False)
    gc.collect()
    gc.freeze()  # or the first collection in a fork would write to, and so copy, all that was imported
    unfit = why_unfit()
    requests.send((unfit or READY).encode())
    if unfit:
        return 1
    run = serve(requests)
    if run is not None:
        _leave(run())
    return 0


def _leave(code: int) -> NoReturn:
    """Ends a fork as an interpreter ends, but for taking all modules apart: that would copy the memory that it shares."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
