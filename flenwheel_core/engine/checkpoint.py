"""Checkpoints of a training run: one file each, written atomically, read back before older ones go."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError

from flenwheel_core.base.errors import StoreError
from flenwheel_core.base.whole_files import write_atomically
from flenwheel_core.engine.tensor_file import read_tensors, tensor_parts, tensors_of

FACTS = "flenwheel.checkpoint"
"""What is no tensor of a checkpoint stands under this name in its file."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on after `step` optimizer steps."""

    step: int
    tensors: Mapping[str, torch.Tensor]
    facts: Mapping[str, object]

    def is_finite(self) -> bool:
        """False if any weight, moment or waiting loss is no number: nothing can go on from it. Waits for the device once."""
        return are_finite(tensor for tensor in self.tensors.values())


def are_finite(tensors: Iterable[torch.Tensor]) -> bool:
    """True if every floating-point number in them is finite."""
    # The extremes are read in one pass without a copy, and one that is no number is both of them.
    numbers = [tensor for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    found = [torch.isfinite(torch.stack(torch.aminmax(tensor.detach()))).all() for tensor in numbers]
    return not found or bool(torch.stack([one.to(found[0].device) for one in found]).all())


def _heard(
    parts: Iterable[bytes | memoryview], hear: Callable[[bytes | memoryview], None]
) -> Iterator[bytes | memoryview]:
    for part in parts:
        hear(part)
        yield part


@dataclass(frozen=True)
class CheckpointFolder:
    """The checkpoints of one run; `run` is the digest of its request, and a checkpoint of another run is refused."""

    path: Path
    run: str
    keep: int

    def encoded(self, checkpoint: Checkpoint) -> bytes:
        """The checkpoint as its file holds it."""
        return b"".join(self._parts(checkpoint))

    def _parts(self, checkpoint: Checkpoint) -> Iterator[bytes | memoryview]:
        facts = json.dumps({"run": self.run, "step": checkpoint.step, **checkpoint.facts}, sort_keys=True)
        return tensor_parts(checkpoint.tensors, {FACTS: facts})

    def decoded(self, data: bytes) -> Checkpoint:
        """What `encoded` was given, by another process of this run."""
        found = self._of_this_run(*tensors_of(data))
        assert found is not None, "a checkpoint of another run"
        return found

    def save(self, checkpoint: Checkpoint) -> None:
        """Write, read back, then remove the oldest beyond `keep`; a failure leaves the older checkpoints as they were."""
        # Piece by piece: each copy of the whole is a second in which the training gets less of the processor.
        file, wanted = self._file(checkpoint.step), hashlib.sha256()
        write_atomically(file, _heard(self._parts(checkpoint), wanted.update))
        with file.open("rb") as written:
            found = hashlib.file_digest(written, "sha256")
        if found.digest() != wanted.digest():
            file.unlink()
            raise StoreError(
                f"Checkpoint {file.name} could not be read back.",
                why="The disk returned other bytes than were written.",
                remedy="Check the disk; the checkpoint before it is intact.",
            )
        for old in self._files()[: -self.keep]:
            old.unlink()

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint of this run that can be read and holds numbers only, or None."""
        for file in reversed(self._files()):
            try:
                found = self._of_this_run(*read_tensors(file))
            except (SafetensorError, OSError, KeyError, ValueError):
                continue
            if found is not None and found.is_finite():
                return found
        return None

    def _of_this_run(self, tensors: dict[str, torch.Tensor], metadata: Mapping[str, str]) -> Checkpoint | None:
        facts = json.loads(metadata[FACTS])
        if facts.pop("run") != self.run:
            return None
        return Checkpoint(step=facts.pop("step"), tensors=tensors, facts=facts)

    def clear(self) -> None:
        """Remove all checkpoints: the run is done."""
        for file in self._files():
            file.unlink()

    def _file(self, step: int) -> Path:
        return self.path / f"step-{step:08d}.safetensors"

    def _files(self) -> list[Path]:
        return sorted(self.path.glob("step-*.safetensors"))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """The optimizer's state as named tensors and plain numbers, without pickle."""
    state = optimizer.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    scalars: dict[str, dict[str, object]] = {}
    for index, values in state["state"].items():
        for key, value in _flat(values):
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer/{index}/{key}"] = value
            else:
                scalars.setdefault(str(index), {})[key] = value
    groups = [
        {
            key: value
            for key, value in group.items()
            if isinstance(value, None | bool | int | float | str | tuple | list)
        }
        for group in state["param_groups"]
    ]
    return tensors, {"optimizer_scalars": scalars, "optimizer_groups": groups}


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Inner mappings (bitsandbytes keeps its 8-bit state in one) by names with a slash."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def _put(values: dict[str, object], name: str, value: object) -> None:
    key, slash, rest = name.partition("/")
    if slash:
        inner = values.setdefault(key, {})
        assert isinstance(inner, dict)
        _put(inner, rest, value)
    else:
        values[key] = value


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, object]
) -> None:
    """The inverse of `optimizer_tensors`."""
    state: dict[int, dict[str, object]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, index, key = name.split("/", 2)
            _put(state.setdefault(int(index), {}), key, tensor)
    scalars = facts["optimizer_scalars"]
    groups = facts["optimizer_groups"]
    assert isinstance(scalars, dict) and isinstance(groups, list)
    for index, values in scalars.items():
        for key, value in values.items():
            _put(state.setdefault(int(index), {}), key, value)
    optimizer.load_state_dict({"state": state, "param_groups": groups})
