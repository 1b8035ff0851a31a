"""Processes of stages: forked from a server that has imported their libraries, or started the usual way where that cannot be."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
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
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("the stage", timeout or 0.0)
            told = self._status.readline()
            self.returncode = int(told) if told else -signal.SIGKILL  # the server died, and its stages stop with it
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal, if the process has not ended."""
        if self.returncode is None and not select.select([self._status], [], [], 0)[0]:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends the process at once."""
        self.send_signal(signal.SIGKILL)


StageProcess = ForkedProcess | subprocess.Popen[str]


class _Server:
    """A running server and the end of the socket that it listens to."""

    def __init__(self, environment: Mapping[str, str], *, card: bool) -> None:
        self.began = fixed_at_start(environment)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "flenwheel_core.runner.fork_server", "card" if card else "cpu", PADDING]
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
            message = {"argv": argv, "environment": dict(environment), "folder": str(Path.cwd())}
            socket.send_fds(self._socket, [json.dumps(message).encode()], [output_end, errors_end, status_end])
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

    def prepare(self, environment: Mapping[str, str], *, card: bool) -> None:
        """Starts a server, if none runs that would do, and does not wait for it."""
        with self._lock:
            self._prepared(environment, card=card)

    def start(self, argv: list[str], environment: Mapping[str, str], *, card: bool) -> ForkedProcess | None:
        """A forked stage; None where none can be forked."""
        with self._lock:
            for _attempt in range(2):  # a server that had nothing to do for long may end just now
                server = self._prepared(environment, card=card)
                if not server.fit():
                    return None
                try:
                    return server.start(argv, environment)
                except OSError:
                    self._close()
            return None

    def _prepared(self, environment: Mapping[str, str], *, card: bool) -> _Server:
        if self._owner != os.getpid():  # a fork of the process that had it
            self._server, self._owner = None, os.getpid()
        server = self._server
        if server is not None and server.began == fixed_at_start(environment) and (server.lives() or not server.fit()):
            return server
        self._close()
        self._server = _Server(environment, card=card)
        return self._server

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


_servers = _Servers()


def prepare_stages(environment: Mapping[str, str], *, card: bool) -> None:
    """Begins to import what stages need, so that the first one begins sooner. Costs nothing where stages cannot be forked."""
    if sys.platform == "linux":
        _servers.prepare(environment, card=card)


def start_stage(argv: list[str], environment: Mapping[str, str], *, card: bool, fork: bool) -> StageProcess:
    """A process that runs the worker with these arguments, its output and its errors piped."""
    if fork and sys.platform == "linux":
        forked = _servers.start(argv, environment, card=card)
        if forked is not None:
            return forked
    command = [sys.executable, "-m", "flenwheel_core.runner.worker", *argv]
    return subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def fixed_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that counts when libraries are imported."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_FIXED_AT_START) and name not in _READ_LATER
    }


def _text(descriptor: int) -> TextIOWrapper:
    return open(descriptor, encoding="utf-8", errors="replace")
