"""Processes of stages: off a card forked from a server that has imported their libraries, on one a process that waited with them imported.

Where neither can be, a process is started the usual way.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import IO

READY = "ready"
"""What a server says when stages can be forked from it."""
LARGEST_REQUEST = 1 << 20
PADDING = "-" * 1024
"""An argument whose place in memory a stage's command line is written over, so that `ps` tells stages apart."""
READY_SECONDS = 120.0
"""How long a server may take to import."""
_FIXED_AT_START = (
    "OMP_",
    "GOMP_",
    "KMP_",
    "MKL_",
    "OPENBLAS_",
    "LD_",
    "MALLOC_",
    "GLIBC_",
    "PYTHON",
    "PYTORCH_",
    "TORCH",
    "CUDA_",
    "NVIDIA_",
    "TRITON_",
    "HF_",
    "TRANSFORMERS_",
    "DIFFUSERS_",
    "BNB_",
    "BITSANDBYTES_",
    "USE_",
)
"""Names that libraries read when they are imported: a server serves only stages that agree with it in these."""
_READ_LATER = ("TORCHINDUCTOR_CACHE_DIR",)


class ForkedProcess:
    """A stage that a server forked, with the part of `subprocess.Popen` that its caller uses."""

    def __init__(self, output: IO[str], errors: IO[str], status: IO[str]) -> None:
        self.stdout, self.stderr = output, errors
        self._status = status
        self.returncode: int | None = None
        told = status.readline()
        if not told:
            self.close()
            raise ConnectionError("the server ended")
        self.pid = int(told)

    def close(self) -> None:
        """Closes all that is read from the process."""
        for stream in (self.stdout, self.stderr, self._status):
            stream.close()

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal; raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not _readable(self._status, timeout):
                raise subprocess.TimeoutExpired("the stage", timeout or 0.0)
            told = self._status.readline()
            self.returncode = int(told) if told else -signal.SIGKILL  # the server died, and its stages stop with it
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal, if the process has not ended."""
        if self.returncode is None and not _readable(self._status, 0):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends the process at once."""
        self.send_signal(signal.SIGKILL)


StageProcess = ForkedProcess | subprocess.Popen[str]


class _Server:
    """A running server and the end of the socket that it listens to."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.began = fixed_at_start(environment)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "flenwheel_core.runner.fork_server", PADDING]
        with theirs:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._socket = ours
        self._said: str | None = None

    def fit(self) -> bool:
        """True once stages can be forked; waits for the imports. False for good if they cannot."""
        if self._said is None:
            self._socket.settimeout(READY_SECONDS)
            try:
                self._said = self._socket.recv(LARGEST_REQUEST).decode()
            except OSError:
                self._said = "it imported for too long"
        return self._said == READY

    def lives(self) -> bool:
        return self._process.poll() is None

    def start(self, argv: list[str], environment: Mapping[str, str]) -> ForkedProcess:
        """Raises OSError if the server is gone."""
        (output, output_end), (errors, errors_end), (status, status_end) = pipes = [os.pipe() for _ in range(3)]
        try:
            socket.send_fds(self._socket, [_asked(argv, environment).encode()], [output_end, errors_end, status_end])
        except OSError:
            for read, _write in pipes:
                os.close(read)
            raise
        finally:
            for _read, write in pipes:
                os.close(write)
        return ForkedProcess(_text(output), _text(errors), _text(status))

    def close(self) -> None:
        """Lets the server end; its stages see that it is gone."""
        self._socket.close()
        self._process.wait()


class _Servers:
    """The server of this process, and why there is none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._owner = os.getpid()

    def prepare(self, environment: Mapping[str, str]) -> None:
        """Starts a server, if none runs that would do, and does not wait for it."""
        with self._lock:
            self._prepared(environment)

    def start(self, argv: list[str], environment: Mapping[str, str]) -> ForkedProcess | None:
        """A forked stage; None where none can be forked."""
        with self._lock:
            for _attempt in range(2):  # a server that had nothing to do for long may end just now
                server = self._prepared(environment)
                if not server.fit():
                    return None
                try:
                    return server.start(argv, environment)
                except OSError:
                    if server.lives():  # it has other stages to look after: this one starts the usual way
                        return None
                    self._close()
            return None

    def _prepared(self, environment: Mapping[str, str]) -> _Server:
        if self._owner != os.getpid():  # a fork of the process that had it
            self._server, self._owner = None, os.getpid()
        server = self._server
        if server is not None and server.began == fixed_at_start(environment) and (server.lives() or not server.fit()):
            return server
        self._close()
        self._server = _Server(environment)
        return self._server

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


class _Waiting:
    """The process that waits for the next stage on a card."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._began: dict[str, str] = {}
        self._owner = os.getpid()

    def prepare(self, environment: Mapping[str, str]) -> None:
        """Starts one, if none waits that would do."""
        with self._lock:
            process = self._process if self._owner == os.getpid() else None
            if process is not None:
                if process.poll() is None and self._began == fixed_at_start(environment):
                    return
                self._end(process)
            self._owner, self._began = os.getpid(), fixed_at_start(environment)
            self._process = _begin("waiting", [], environment, stdin=subprocess.PIPE)

    def take(self, argv: list[str], environment: Mapping[str, str]) -> subprocess.Popen[str] | None:
        """The process that waited, with its stage begun; None if none waits that would do."""
        with self._lock:
            process, self._process = self._process, None
            if process is None or self._owner != os.getpid():
                return None
            if self._began != fixed_at_start(environment) or process.poll() is not None:
                self._end(process)
                return None
            assert process.stdin is not None
            try:
                process.stdin.write(_asked(argv, environment) + "\n")
                process.stdin.close()
            except OSError:
                self._end(process)
                return None
            process.stdin = None  # `communicate` would flush what is closed
            return process

    @staticmethod
    def _end(process: subprocess.Popen[str]) -> None:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with suppress(OSError):  # what was written to a process that is gone cannot be flushed
                    stream.close()


_servers, _waiting = _Servers(), _Waiting()


def prepare_stage(environment: Mapping[str, str], *, card: bool) -> None:
    """Begins to import what stages need, so that the next one begins sooner."""
    if card:
        _waiting.prepare(environment)
    elif sys.platform == "linux":
        _servers.prepare(environment)


def start_stage(argv: list[str], environment: Mapping[str, str], *, card: bool, ahead: bool) -> StageProcess:
    """A process that runs the worker with these arguments, its output and its errors piped; `ahead`: its libraries imported already."""
    if ahead:
        process: StageProcess | None = None
        if card:
            process = _waiting.take(argv, environment)
        elif sys.platform == "linux":
            process = _servers.start(argv, environment)
        if process is not None:
            return process
    return _begin("worker", argv, environment)


def _begin(
    module: str, argv: list[str], environment: Mapping[str, str], stdin: int | None = None
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"flenwheel_core.runner.{module}", *argv]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=dict(environment), stdin=stdin, stdout=pipe, stderr=pipe, text=True)


def _asked(argv: list[str], environment: Mapping[str, str]) -> str:
    """What a waiting process is told: its arguments, its environment and its folder."""
    return json.dumps({"argv": argv, "environment": dict(environment), "folder": str(Path.cwd())})


def fixed_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that counts when libraries are imported."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_FIXED_AT_START) and name not in _READ_LATER
    }


def _readable(stream: IO[str], timeout: float | None) -> bool:
    """True as soon as there is something to read, or the other end is closed; `timeout` in seconds.

    `select` would know descriptors up to 1023 only.
    """
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def _text(descriptor: int) -> TextIOWrapper:
    return open(descriptor, encoding="utf-8", errors="replace")
