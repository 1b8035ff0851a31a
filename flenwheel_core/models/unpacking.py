"""Shipped models that are kept small: their ordinary folders are made on this machine when they are first used, in the folder of
downloaded weights.

A packed folder looks like the folder it becomes. In place of weights it may have packed ones (`packed_weights.py`), and files ending in
`.added.safetensors`: tensors to add to borrowed weights of that name. `borrowed.json` says which of its files are other shipped models'.
"""

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flenwheel_core.base.errors import ResourceError
from flenwheel_core.models.packed_weights import PACKED, PLAIN, packed_name, plain_name, unpack_weights

BORROWED = "borrowed.json"
ADDED = ".added.safetensors"
_DIGITS = 12
_KINDS = {"float16": "F16", "float32": "F32", "int64": "I64"}


@dataclass(frozen=True)
class _Source:
    """What a file of the ordinary folder is made of."""

    file: Path
    added: Path | None = None


def is_packed(folder: Path) -> bool:
    """True for a shipped folder whose files are not all there as they are used."""
    return (folder / BORROWED).exists() or any(folder.glob(f"**/*{PACKED}"))


def unpacked(shipped: Path, name: str, kept: Path) -> Path:
    """The ordinary folder of the packed folder `shipped / name`, below `kept`.

    Its name holds the digest of what it is made of, and each file takes its place in one piece, so any number of processes may make it at
    once, and a file that got lost is made again. Raises ResourceError if it cannot be written.
    """
    sources, digest = _read(shipped, name)
    folder = kept / "nano" / f"{name}-{digest}"
    missing = {inside: source for inside, source in sources.items() if not (folder / inside).exists()}
    try:
        for inside, source in missing.items():
            _make(source, folder / inside)
    except OSError as error:
        raise ResourceError(
            f"The shipped model {name} cannot be unpacked into {folder}.",
            why=str(error),
            remedy="Make room there, or set FLENWHEEL_MODELS to a folder that you may write to.",
        ) from error
    return folder


@cache
def _read(shipped: Path, name: str) -> tuple[dict[str, _Source], str]:
    """The files of the ordinary folder, and the digest of all they are made of. Read once: shipped files do not change meanwhile."""
    sources = _sources(shipped, shipped / name)
    total = hashlib.sha256()
    for inside, source in sources.items():
        parts = [part for part in (source.file, source.added) if part is not None]
        total.update(f"{inside} {[hashlib.sha256(part.read_bytes()).hexdigest() for part in parts]}\n".encode())
    return sources, total.hexdigest()[:_DIGITS]


def _sources(shipped: Path, packed: Path) -> dict[str, _Source]:
    own = {path.relative_to(packed).as_posix(): path for path in sorted(packed.rglob("*")) if path.is_file()}
    found = {
        plain_name(inside): _Source(path) for inside, path in own.items() if not inside.endswith((BORROWED, ADDED))
    }
    borrowed = own.get(BORROWED)
    for inside, lender in (json.loads(borrowed.read_text()) if borrowed is not None else {}).items():
        file = shipped / lender
        added = own.get(inside.removesuffix(PLAIN) + ADDED)
        found[inside] = _Source(file if file.exists() else file.with_name(packed_name(file.name)), added)
    return dict(sorted(found.items()))


def _make(source: _Source, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
    try:
        made = part / target.name
        if not source.file.name.endswith(PACKED):
            shutil.copyfile(source.file, made)
        else:
            made.write_bytes(unpack_weights(source.file))
        if source.added is not None:
            _add(source.added, made)
        made.replace(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _add(added: Path, weights: Path) -> None:
    from safetensors.numpy import load, load_file

    weights.write_bytes(_safetensors(load(weights.read_bytes()) | load_file(added)))


def _safetensors(tensors: dict[str, NDArray[Any]]) -> bytes:
    """A safetensors file that has the same bytes whichever version of the library is here: pinned references name them."""
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts: list[bytes] = []
    at = 0
    for name in sorted(tensors):
        part = np.ascontiguousarray(tensors[name]).tobytes()
        kind, shape = _KINDS[str(tensors[name].dtype)], list(tensors[name].shape)
        table[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + len(part)]}
        parts.append(part)
        at += len(part)
    head = json.dumps(table, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    return b"".join([len(head).to_bytes(8, "little"), head, *parts])
