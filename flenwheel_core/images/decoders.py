"""The decoders of this process: a few warm processes that read pictures, ended when a picture takes too long."""

import atexit
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from flenwheel_core.base.errors import BusyError, FlenwheelError, InputError, RetryableError
from flenwheel_core.images.decoder import HEADER_SECONDS, seconds_for
from flenwheel_core.images.messages import Found, Job, Message, Refused, Sign, receive, send
from flenwheel_core.images.names import printable_name

START_SECONDS = 120
"""A machine whose cores are all taken needs long to start a process."""
SLOWER = 10
"""A picture's limit is one of processor time. By the clock it may take this many times as long, on a machine that does much else."""
TURN_SECONDS = 900
"""How long a large picture waits for the other large ones of the machine."""
MOST_WAITING = 24
"""Pictures that may wait here at once: fewer than a web server has threads, so that it still answers."""
MOST_LARGE = 6
"""Large pictures that may wait for their turn at once: each holds its bytes in a process of its own."""
BYTES_PER_PIXEL = 3


class Decoders:
    """Reads pictures in processes of their own. Safe from many threads; the processes are kept for the next pictures."""

    def __init__(self, count: int | None = None) -> None:
        self.count = count or max(2, min(4, len(os.sched_getaffinity(0))))
        self._places = threading.Semaphore(self.count)
        self._large = threading.Semaphore(MOST_LARGE)
        self._lock = threading.Lock()
        self._idle: list[_Decoder] = []
        self._busy: set[_Decoder] = set()
        self._waiting = 0
        self._closings = 0

    def read(self, job: Job, data: bytes) -> tuple[Found, bytearray]:
        """What was read, with the pixels. Raises InputError for what cannot be read in its time and memory, BusyError if too many wait."""
        with self._lock:
            if self._waiting >= MOST_WAITING:
                raise _busy()
            self._waiting += 1
        place, closings = _Place(self._places, self._large), self._closings
        try:
            place.take()
            try:
                return self._try(job, data, place)
            except _CrashedError:
                if self._closings != closings:
                    raise RetryableError("The pictures are read no further: the work was stopped.") from None
                # A decoder that was kept may have been ended by somebody else; a picture that ends it does so again.
                return self._try(job, data, place)
        except _CrashedError as crash:
            raise InputError(
                f"{printable_name(job.name)} cannot be read.",
                why=f"the decoder crashed on it ({crash}).",
                remedy="Open it in a picture program and export it as PNG or JPEG.",
            ) from None
        finally:
            place.give_back()
            with self._lock:
                self._waiting -= 1

    @property
    def process_ids(self) -> tuple[int, ...]:
        """The processes that are kept or reading now."""
        with self._lock:
            return tuple(decoder.process_id for decoder in (*self._idle, *self._busy))

    def close(self) -> None:
        """Ends all decoders. What they were reading raises RetryableError; later pictures start new ones."""
        with self._lock:
            self._closings += 1
            decoders = [*self._idle, *self._busy]
            self._idle.clear()
        for decoder in decoders:
            decoder.end()

    def _try(self, job: Job, data: bytes, place: "_Place") -> tuple[Found, bytearray]:
        decoder = self._checked_out()
        keep = False
        try:
            found, pixels = decoder.read(job, data, place)
            keep = not found.last
        except FlenwheelError:
            keep = decoder.sound
            raise
        else:
            return found, pixels
        finally:
            with self._lock:
                self._busy.discard(decoder)
                keep = keep and len(self._idle) < self.count
                if keep:
                    self._idle.append(decoder)
            if not keep:
                decoder.end()

    def _checked_out(self) -> "_Decoder":
        while True:
            with self._lock:
                decoder = self._idle.pop() if self._idle else None
                if decoder is not None and decoder.alive:
                    self._busy.add(decoder)
                    return decoder
            if decoder is None:
                break
            decoder.end()
        decoder = _Decoder()
        with self._lock:
            self._busy.add(decoder)
        return decoder


class _Place:
    """One of the few places for pictures that are read at once. Large pictures have places of their own: others pass them."""

    def __init__(self, ordinary: threading.Semaphore, large: threading.Semaphore) -> None:
        self._ordinary = ordinary
        self._large = large
        self._taken: threading.Semaphore | None = None

    def take(self) -> None:
        self._ordinary.acquire()
        self._taken = self._ordinary

    def change_to_large(self) -> None:
        """Raises BusyError if too many large pictures wait."""
        if self._taken is self._large:
            return
        self.give_back()
        if not self._large.acquire(blocking=False):
            raise _busy()
        self._taken = self._large

    def give_back(self) -> None:
        if self._taken is not None:
            self._taken.release()
            self._taken = None


class _CrashedError(Exception):
    """The process of a decoder ended."""


class _Decoder:
    """One process, for one picture at a time."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "flenwheel_core.images.decoder", str(os.getpid()), str(_turn_file())]
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                cwd="/",
            )
        self._connection = ours
        self.sound = False
        """It answered the last job as it should, and can be given another."""
        try:
            ours.settimeout(START_SECONDS)
            receive(ours, 0)
        except (OSError, EOFError, ValueError) as error:
            code = self.end()
            raise RetryableError(
                "The process that reads pictures could not be started.",
                why=f"it gave no sign of life ({type(error).__name__}, exit code {code}).",
                remedy="Check the machine's memory and limits of processes, and try again.",
            ) from error

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def read(self, job: Job, data: bytes, place: _Place) -> tuple[Found, bytearray]:
        """What was read. Raises the decoder's own error, InputError if the time is up, or _CrashedError."""
        self.sound = False
        shown = printable_name(job.name)
        try:
            answer, block = self._ask(job, data, place)
        except TimeoutError:
            raise _too_long(shown) from None
        except (OSError, EOFError, ValueError) as error:
            code = self.end()
            if code == -signal.SIGXCPU:
                raise _too_long(shown) from None
            raise _CrashedError(_signal_name(code)) from error
        self.sound = True
        if isinstance(answer, Refused):
            raise answer.error()
        assert isinstance(answer, Found)
        return answer, block

    def _ask(self, job: Job, data: bytes, place: _Place) -> tuple[Message, bytearray]:
        self._give_seconds(HEADER_SECONDS)
        send(self._connection, job, data)
        most = job.limits.maximum_megapixels * 1_000_000 * BYTES_PER_PIXEL
        while True:
            message, block = receive(self._connection, most)
            if not isinstance(message, Sign):
                return message, block
            if message.state == "waiting":
                place.change_to_large()
                self._connection.settimeout(TURN_SECONDS)
            else:
                self._give_seconds(seconds_for(message.pixels))

    def _give_seconds(self, processor_seconds: float) -> None:
        self._connection.settimeout(SLOWER * processor_seconds)

    def end(self) -> int:
        """Ends the process at once; its exit code."""
        self._process.kill()
        code = self._process.wait()
        self._connection.close()
        return code


def _busy() -> BusyError:
    return BusyError("Too many pictures are being read.", remedy="Try again in a moment, or give fewer at a time.")


def _too_long(shown: str) -> InputError:
    return InputError(
        f"{shown} takes too long to read.",
        why="pictures of its size are read in a fraction of the time it was given; it may be made to never end.",
        remedy="Open it in a picture program and export it again.",
    )


def _signal_name(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _turn_file() -> Path:
    return Path(tempfile.gettempdir()) / "flenwheel-locks" / f"large-picture-{os.getuid()}.lock"


def _environment() -> dict[str, str]:
    """What a decoder needs to start, and nothing else: no token, no key of an object store."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    here = str(Path(__file__).resolve().parents[2])
    path = [here, *(str(Path(entry).absolute()) for entry in sys.path if entry)]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)), **one_thread, **kept}


_shared: Decoders | None = None
_shared_lock = threading.Lock()
_inherited: list[Decoders] = []


def shared_decoders() -> Decoders:
    """The decoders of this process; their processes start with the first picture and end with this process."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = Decoders()
        return _shared


def close_decoders() -> None:
    """Ends the decoders of this process, those that are reading too."""
    if _shared is not None:
        _shared.close()


def _after_fork() -> None:
    """A forked process starts its own decoders: two that talk to one would get each other's pictures."""
    global _shared, _shared_lock
    if _shared is not None:
        _inherited.append(_shared)
    _shared, _shared_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(close_decoders)
