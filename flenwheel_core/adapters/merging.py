"""A LoRA put into the weights of its base for good: a model folder, or one file for ComfyUI. One tensor at a time is in memory.

What a family's `single_file` gives is a list of `Part`: each tensor of the file, and which tensors of the folder it is made of.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open

from flenwheel_core.adapters.lora_reading import LowRank, WornLora
from flenwheel_core.base.errors import InputError
from flenwheel_core.engine.tensor_file import header_of

FP8_MOST = 448.0
"""The largest number of float8_e4m3fn."""
WEIGHT = ".weight"
_WEIGHTS = (".safetensors", ".gguf", ".bin")


@dataclass(frozen=True)
class Part:
    """A tensor of a single file: tensors of the folder, one below the other."""

    name: str
    sources: tuple[str, ...]
    halves_swapped: bool = False
    """The original layout has shift before scale where diffusers has scale before shift."""


class Weights:
    """The tensors of a transformer folder, with the LoRA in them."""

    def __init__(self, folder: Path, lora: WornLora) -> None:
        self._lora = lora
        self.files = sorted(folder.glob("*.safetensors"))
        if not self.files:
            raise InputError(f"{folder} holds no safetensors weights.")
        self._opened = {file: safe_open(file, framework="pt") for file in self.files}
        self.names = {name: file for file, opened in self._opened.items() for name in opened.keys()}  # noqa: SIM118
        missing = [name for name in lora.modules if name + WEIGHT not in self.names]
        if missing:
            raise InputError(f"{lora.name} does not fit {folder}.", why=f"there is no {missing[0]} in it.")

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._opened[self.names[name]].get_slice(name).get_shape())

    def dtype(self, name: str) -> torch.dtype:
        return _DTYPES[self._opened[self.names[name]].get_slice(name).get_dtype()]

    def tensor(self, name: str) -> torch.Tensor:
        """The tensor in its own dtype; where the LoRA changes it, computed in float32 and rounded once."""
        found: torch.Tensor = self._opened[self.names[name]].get_tensor(name)
        change = self._lora.modules.get(name.removesuffix(WEIGHT)) if name.endswith(WEIGHT) else None
        return found if change is None else merged(found, change, self._lora.weight).to(found.dtype)

    def exact(self, name: str) -> torch.Tensor:
        """The same in float32, before it is rounded."""
        found: torch.Tensor = self._opened[self.names[name]].get_tensor(name).float()
        change = self._lora.modules.get(name.removesuffix(WEIGHT)) if name.endswith(WEIGHT) else None
        return found if change is None else merged(found, change, self._lora.weight)


_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
}


def merged(weight: torch.Tensor, change: LowRank, strength: float) -> torch.Tensor:
    """The weight (outputs, inputs) with B A added, float32; a DoRA's rows then have its magnitudes, as far as its strength goes."""
    plain = weight.float()
    moved = plain + strength * (change.b @ change.a)
    if change.magnitude is None:
        return moved
    # As PEFT computes it: the direction is the norm of the moved weight, the length is learned.
    turned = moved * (change.magnitude / moved.norm(dim=1)).unsqueeze(1)
    return turned if strength == 1 else plain + strength * (turned - plain)


def write_merged_folder(base: Path, lora: WornLora, out: Path, say: Callable[[str], None]) -> None:
    """A whole model folder with the LoRA in its transformer; weights of other parts are linked where the disk can, the rest is copied.

    It is there whole or not at all. Raises InputError if `out` is there already.
    """
    if out.exists():
        raise InputError(f"{out} is there already.", remedy="Choose another folder.")
    weights = Weights(base / "transformer", lora)
    made = out.with_name(f".{out.name}.{os.getpid()}.partial")
    shutil.rmtree(made, ignore_errors=True)
    kept = [path for path in sorted(base.rglob("*")) if path.is_file() and path not in weights.files]
    for path in kept:
        _bring(path, made / path.relative_to(base))
    for number, file in enumerate(weights.files, start=1):
        say(f"file {number} of {len(weights.files)}")
        names = sorted(name for name, place in weights.names.items() if place == file)
        entries = [(name, weights.dtype(name), weights.shape(name)) for name in names]
        write_tensors(made / "transformer" / file.name, entries, map(weights.tensor, names), {"format": "pt"})
    made.rename(out)


def write_single_file(
    weights: Weights, parts: Sequence[Part], path: Path, *, fp8: bool, metadata: Mapping[str, str]
) -> None:
    """One file for ComfyUI, bfloat16 or fp8 with a scale a matrix; one tensor at a time. It is there whole or not at all.

    In fp8 every matrix is divided by its scale before it is rounded, so that what a LoRA changed by little is not lost; `scaled_fp8` and
    `NAME.scale_weight` are how ComfyUI reads that.
    """
    entries: list[tuple[str, torch.dtype, tuple[int, ...]]] = []
    for part in parts:
        shape = _shape(weights, part)
        scaled = fp8 and len(shape) == 2
        entries.append((part.name, torch.float8_e4m3fn if scaled else torch.bfloat16, shape))
        if scaled:
            entries.append((part.name.removesuffix(WEIGHT) + ".scale_weight", torch.float32, ()))
    if fp8:
        entries.append(("scaled_fp8", torch.float8_e4m3fn, (2,)))
    write_tensors(path, entries, _made(weights, parts, fp8=fp8), metadata)


def _made(weights: Weights, parts: Sequence[Part], *, fp8: bool) -> Iterator[torch.Tensor]:
    for part in parts:
        tensor = torch.cat([weights.exact(name) for name in part.sources])
        if part.halves_swapped:
            first, second = tensor.chunk(2, dim=0)
            tensor = torch.cat([second, first])
        if not (fp8 and tensor.ndim == 2):
            yield tensor.bfloat16()
            continue
        scale = (tensor.abs().amax() / FP8_MOST).clamp(min=1e-12)
        yield (tensor / scale).to(torch.float8_e4m3fn)
        yield scale
    if fp8:
        yield torch.zeros(2).to(torch.float8_e4m3fn)


def _shape(weights: Weights, part: Part) -> tuple[int, ...]:
    shapes = [weights.shape(name) for name in part.sources]
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def write_tensors(
    path: Path,
    entries: Sequence[tuple[str, torch.dtype, tuple[int, ...]]],
    tensors: Iterator[torch.Tensor],
    metadata: Mapping[str, str],
) -> None:
    """A safetensors file whose tensors come one after the other, in the order of `entries`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(header_of(entries, metadata))
            for (name, dtype, shape), tensor in zip(entries, tensors, strict=True):
                assert tensor.dtype == dtype and tuple(tensor.shape) == shape, name
                file.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _bring(source: Path, target: Path) -> None:
    """Weights are linked, where the disk can; what a person may edit, such as a config, is a copy, so that the base stays as it is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix in _WEIGHTS:
        with suppress(OSError):
            os.link(source.resolve(), target)
            return
    shutil.copyfile(source, target)


def describe(lora: WornLora, base: str) -> dict[str, str]:
    """What a merged file says of itself."""
    return {
        "format": "pt",
        "flenwheel.merged": json.dumps({"lora": lora.name, "weight": lora.weight, "base": base}),
    }
