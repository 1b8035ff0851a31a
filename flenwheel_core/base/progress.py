"""Progress of a stage: one source for the terminal, the Prefect logs and the progress artifact."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from flenwheel_core.base.document import Document


class ProgressEvent(Document):
    """Where a stage stands."""

    stage: str
    kind: Literal["waiting", "loading", "step", "note", "done"]
    done: int = 0
    total: int = 0
    unit: str = "items"
    rate: float | None = None
    """Units a second."""
    eta_seconds: float | None = None
    vram_gib: float | None = None
    loss: float | None = None
    text: str = ""

    def line(self) -> str:
        """One line for a person."""
        parts = [self.stage]
        if self.total:
            parts.append(f"{self.done}/{self.total} {self.unit}")
        elif self.kind != "note":
            parts.append(self.kind)
        if self.rate is not None:
            parts.append(
                f"{self.rate:.2f}/s" if self.rate >= 1 else f"{1 / self.rate:.1f} s each" if self.rate > 0 else ""
            )
        if self.eta_seconds is not None:
            parts.append(f"{_clock(self.eta_seconds)} left")
        if self.loss is not None:
            parts.append(f"loss {self.loss:.4f}")
        if self.vram_gib is not None:
            parts.append(f"{self.vram_gib:.1f} GiB")
        if self.text:
            parts.append(self.text)
        return " · ".join(part for part in parts if part)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


Sink = Callable[[ProgressEvent], None]


class Progress:
    """What a stage body reports to. Cheap to call: events closer together than `interval_seconds` are held back."""

    def __init__(self, stage: str, sink: Sink, *, interval_seconds: float = 0.5) -> None:
        self._stage = stage
        self._sink = sink
        self._interval = interval_seconds
        self._start: tuple[float, int] | None = None
        self._last = 0.0

    def note(self, text: str) -> None:
        """A sentence worth a line in the log."""
        self._sink(ProgressEvent(stage=self._stage, kind="note", text=text))

    def loading(self, text: str) -> None:
        """Weights are being loaded, text says which."""
        self._sink(ProgressEvent(stage=self._stage, kind="loading", text=text))

    def step(
        self, done: int, total: int, unit: str = "items", *, loss: float | None = None, vram_gib: float | None = None
    ) -> None:
        """`done` of `total` units are finished; rate and time left are worked out here."""
        now = time.monotonic()
        if self._start is None or done < self._start[1]:
            self._start = (now, done)
        if done < total and now - self._last < self._interval:
            return
        self._last = now
        began, first = self._start
        rate = (done - first) / (now - began) if done > first and now > began else None
        eta = (total - done) / rate if rate else None
        self._sink(
            ProgressEvent(
                stage=self._stage,
                kind="step",
                done=done,
                total=total,
                unit=unit,
                rate=rate,
                eta_seconds=eta,
                loss=loss,
                vram_gib=vram_gib,
            )
        )


def parse_event(line: str) -> ProgressEvent | None:
    """The event in a line of a worker's output, or None if the line is something else."""
    if not line.startswith('{"'):
        return None
    try:
        return ProgressEvent.model_validate(json.loads(line))
    except ValueError:
        return None


@contextmanager
def hearing(say: Callable[[str], None]) -> Iterator[None]:
    """Hands what parts of the core log at INFO (long hashing, fetching, what a LoRA file leaves out) to `say`, line by line."""
    logger, handler = logging.getLogger("flenwheel_core"), _Listener(say)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


class _Listener(logging.Handler):
    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.getMessage())
