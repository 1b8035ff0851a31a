"""Child processes of `flenwheel up`: started with a log file, watched, and ended by their own id."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from flenwheel_core.base.errors import ServerError
from flenwheel_core.base.processes import ended_with_parent

TAIL_LINES = 15


class Child:
    """One service process; `start` may be called again after it died."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = dict(environment)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.started = 0.0

    def start(self) -> None:
        """Starts it in a session of its own: Ctrl-C reaches it only through us."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=ended_with_parent(),
            )
        self.started = time.monotonic()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, seconds: float) -> None:
        """Asks it to end, and ends it if it does not."""
        self.ask_to_end()
        self.wait_for_end(seconds)

    def ask_to_end(self) -> None:
        """Tells it to end, once, and does not wait."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait_for_end(self, seconds: float) -> None:
        """Waits for so long, then kills it."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Returns when it is ready; raises ServerError with the end of its log if it died or took too long."""
        end = time.monotonic() + seconds
        while not ready():
            if not self.alive():
                raise ServerError(f"The {self.name} ended while starting.", why=self.tail(), remedy=f"See {self.log}.")
            if time.monotonic() > end:
                raise ServerError(
                    f"The {self.name} did not answer within {seconds:.0f} s.",
                    why=self.tail(),
                    remedy=f"See {self.log}.",
                )
            time.sleep(0.1)

    def tail(self) -> str:
        """The last lines of its log."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return "it left no log."
        return "\n".join(lines[-TAIL_LINES:]) or "it left no log."
