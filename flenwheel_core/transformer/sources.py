"""Where the frozen weights of a transformer come from, one tensor at a time."""

import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from safetensors import safe_open

from flenwheel_core.base.errors import MissingWeightsError

Block = TypeVar("Block")
LOADING_THREADS = 3
"""More read no faster, and each holds a weight in full size while it is quantised."""


def load_blocks(load: Callable[[int], Block], count: int, device: torch.device) -> list[Block]:
    """`load(index)` of all blocks, in order; on a card several at once, since reading and quantising wait for each other."""
    if device.type != "cuda":
        return [load(index) for index in range(count)]
    with ThreadPoolExecutor(LOADING_THREADS) as pool:
        return list(pool.map(load, range(count)))


class WeightSource(Protocol):
    """Gives a named tensor on a device: nothing else of the model needs to be in memory."""

    def tensor(self, name: str) -> torch.Tensor: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def has(self, name: str) -> bool: ...


class FolderSource:
    """The safetensors files of a diffusers transformer folder; `stem` is what they are called in other folders."""

    def __init__(
        self, folder: Path, device: torch.device, dtype: torch.dtype, *, stem: str = "diffusion_pytorch_model"
    ) -> None:
        self._device, self._dtype = device, dtype
        self._opened = threading.local()
        index = folder / f"{stem}.safetensors.index.json"
        if index.exists():
            table: dict[str, str] = json.loads(index.read_text())["weight_map"]
            self._files = {name: folder / file for name, file in table.items()}
        else:
            file = folder / f"{stem}.safetensors"
            if not file.exists():
                raise MissingWeightsError(f"{folder} holds no safetensors weights.", remedy="Download the model again.")
            with safe_open(file, framework="pt") as opened:
                self._files = dict.fromkeys(opened.keys(), file)

    def tensor(self, name: str) -> torch.Tensor:
        tensor: torch.Tensor = self._file(name).get_tensor(name)
        return tensor.to(self._device).to(self._dtype)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._file(name).get_slice(name).get_shape())

    def has(self, name: str) -> bool:
        return name in self._files

    def _file(self, name: str) -> Any:
        """Each thread opens each file once: its header names thousands of tensors."""
        path = self._files[name]
        files: dict[Path, Any] = self._opened.__dict__.setdefault("files", {})
        if path not in files:
            files[path] = safe_open(path, framework="pt")
        return files[path]


class RandomSource:
    """Random weights in given shapes, to measure speed and memory; scaled so that activations stay of order one."""

    def __init__(
        self, shapes: Mapping[str, torch.Size], device: torch.device, dtype: torch.dtype, seed: int = 0
    ) -> None:
        self._shapes = shapes
        self._device, self._dtype = device, dtype
        self._generator = torch.Generator(device).manual_seed(seed)

    def tensor(self, name: str) -> torch.Tensor:
        shape = self._shapes[name]
        if name.endswith("weight") and len(shape) == 1:
            return torch.ones(shape, device=self._device, dtype=self._dtype)
        scale = 0.02 if len(shape) == 1 else shape[-1] ** -0.5
        if ".norm" in name:
            scale *= 0.3  # modulation: near identity
        values = torch.randn(shape, device=self._device, dtype=self._dtype, generator=self._generator)
        return values * scale

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._shapes[name])

    def has(self, name: str) -> bool:
        return name in self._shapes
