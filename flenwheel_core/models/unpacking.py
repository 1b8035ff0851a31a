"""Shipped models that are kept small: their folders are made on this machine when they are first used, in the folder of downloaded weights.

A packed folder looks like the folder it becomes. In place of weights it may have packed ones (`packed_weights.py`), `added.safetensors`
(tensors to add to borrowed weights), and at its top `borrowed.json`: which of its files are those of other shipped models.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from flenwheel_core.base.errors import ResourceError
from flenwheel_core.models.packed_weights import HALVES, ROWS, halves_of, rows_of, safetensors_bytes

BORROWED, ADDED = "borrowed.json", "added.safetensors"
_PIN_LENGTH = 12


@cache
def unpacked(shipped: Path, name: str, kept: Path) -> Path:
    """The ordinary folder of the packed folder `shipped / name`, below `kept`. It is made once, whoever asks first.

    Raises ResourceError if it cannot be written.
    """
    sources = dict(sorted(_sources(shipped, shipped / name)))
    total = hashlib.sha256()
    for inside, path in sources.items():
        total.update(f"{inside} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    folder = kept / "nano" / f"{name}-{total.hexdigest()[:_PIN_LENGTH]}"
    if not folder.is_dir():
        try:
            _make(sources, folder)
        except OSError as error:
            raise ResourceError(
                f"The shipped model {name} cannot be unpacked into {folder}.",
                why=str(error),
                remedy="Make room there, or set FLENWHEEL_MODELS to a folder that you may write to.",
            ) from error
    return folder


def _sources(shipped: Path, packed: Path) -> Iterator[tuple[str, Path]]:
    """The files that the folder is made of: where they go, and where they are."""
    for path in packed.rglob("*"):
        if path.is_file() and path.name != BORROWED:
            yield path.relative_to(packed).as_posix(), path
    borrowed = packed / BORROWED
    if borrowed.exists():
        for inside, lender in json.loads(borrowed.read_text()).items():
            yield inside, shipped / lender


def _make(sources: dict[str, Path], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        for inside, path in sources.items():
            target = part / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.name == ADDED:
                continue
            if path.name in (ROWS, HALVES):
                _weights_file(target.parent).write_bytes(
                    halves_of(path) if path.name == HALVES else safetensors_bytes(rows_of(path))
                )
            else:
                shutil.copyfile(path, target)
        for inside, path in sources.items():
            if path.name == ADDED:
                _add(path, _weights_file((part / inside).parent))
        part.chmod(0o755)
        part.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was faster
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _weights_file(folder: Path) -> Path:
    """As diffusers calls it, or transformers."""
    return folder / ("model.safetensors" if "encoder" in folder.name else "diffusion_pytorch_model.safetensors")


def _add(added: Path, weights: Path) -> None:
    from safetensors.numpy import load_file

    weights.write_bytes(safetensors_bytes(load_file(weights) | load_file(added)))
