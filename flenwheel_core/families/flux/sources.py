"""Where the frozen weights of a FLUX transformer come from, one tensor at a time."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from safetensors import safe_open

from flenwheel_core.errors import MissingWeightsError


class WeightSource(Protocol):
    """Gives a named tensor on a device: nothing else of the model needs to be in memory."""

    def tensor(self, name: str) -> torch.Tensor: ...

    def shape(self, name: str) -> tuple[int, ...]: ...


class FolderSource:
    """The safetensors files of a diffusers transformer folder."""

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        index = folder / "diffusion_pytorch_model.safetensors.index.json"
        if index.exists():
            table: dict[str, str] = json.loads(index.read_text())["weight_map"]
            self._files = {name: folder / file for name, file in table.items()}
        else:
            file = folder / "diffusion_pytorch_model.safetensors"
            if not file.exists():
                raise MissingWeightsError(f"{folder} holds no safetensors weights.", remedy="Download the model again.")
            with safe_open(file, framework="pt") as opened:
                self._files = dict.fromkeys(opened.keys(), file)

    def tensor(self, name: str) -> torch.Tensor:
        with safe_open(self._files[name], framework="pt", device=str(self._device)) as file:
            return file.get_tensor(name).to(self._dtype)

    def shape(self, name: str) -> tuple[int, ...]:
        with safe_open(self._files[name], framework="pt") as file:
            return tuple(file.get_slice(name).get_shape())


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
