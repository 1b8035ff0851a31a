"""Where the parts of a training find each other's results: plain files, written under another name and renamed when complete."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flenwheel_core.nano.world.version import shipped_world

POLL_SECONDS = 0.5
LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "pillow")


@dataclass(frozen=True)
class Run:
    """One part's run, as given on the command line."""

    data: Path
    work: Path
    seconds: float
    started: float
    device: torch.device
    batch: int
    max_steps: int | None = None
    workers: int = 1
    seed: int = 0
    init: Path | None = None
    """A finished folder of the same part to start from, instead of random weights."""
    named: int = 256
    """How many characters have names in the data."""
    named_pictures: int = 120
    """Pictures of each of them."""
    whole_seconds: float | None = None
    """How long a training that several processes share, one after the other, is to learn in all."""
    guides: bool = True
    """Whether the siblings get guidance into their weights at the end."""
    world: int = 1
    """Which nano world's characters, words and pictures are learned."""

    @property
    def new_words(self) -> bool:
        """True if finished weights to start from know fewer words and labels than this world has."""
        return self.world != shipped_world()

    def seconds_left(self) -> float:
        """Until this process should be done."""
        return max(1.0, self.seconds - (time.monotonic() - self.started))


def wait_for(path: Path) -> Path:
    """Blocks until another part has written `path`."""
    while not path.exists():
        time.sleep(POLL_SECONDS)
    return path


def write_array(path: Path, array: NDArray[np.generic]) -> None:
    """Saves a .npy file by rename."""
    part = path.with_suffix(".part.npy")
    np.save(part, array)
    part.replace(path)


def write_json(path: Path, content: object) -> None:
    """Saves JSON by rename."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=2) + "\n")
    part.replace(path)


def machine_facts(device: torch.device) -> dict[str, str]:
    """What a model card says about where its weights come from."""
    facts = {name: version(name) for name in LIBRARIES}
    facts["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return facts


def fill(
    target: Tensor, source: NDArray[np.generic], chunk: int = 4096, convert: Callable[[Tensor], Tensor] | None = None
) -> None:
    """Copies the beginning of a memory-mapped array into a tensor that is already on the device."""
    for start in range(0, len(target), chunk):
        stop = min(start + chunk, len(target))
        part = torch.from_numpy(np.array(source[start:stop])).to(target.device)
        target[start:stop].copy_(part if convert is None else convert(part))
