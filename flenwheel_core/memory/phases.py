"""The parts of a model's work, measured: how long each took, and the card memory at its peak."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flenwheel_core.memory.card import GIB

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Phase:
    """One part of the work, with its time and the card memory it took at its peak."""

    name: str
    seconds: float
    peak_reserved_gib: float | None

    def line(self) -> str:
        memory = "" if self.peak_reserved_gib is None else f", peak {self.peak_reserved_gib:.1f} GiB"
        return f"{self.name}: {self.seconds:.1f} s{memory}"


@contextmanager
def measured(name: str, device: "torch.device", phases: list[Phase]) -> Iterator[None]:
    """Measures what happens within, and adds it to `phases`."""
    import torch

    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    began = time.monotonic()
    try:
        yield
    finally:
        peak = torch.cuda.max_memory_reserved(device) / GIB if cuda else None
        phases.append(Phase(name, time.monotonic() - began, peak))
