"""Shipped models that are kept small: their ordinary folders are made on this machine when they are first used, in the folder of
downloaded weights.

A packed folder looks like the folder it becomes. In place of weights it may have packed ones (`packed_weights.py`), and files ending in
`.added.safetensors`: tensors to add to borrowed weights of that name. `plain.json` says what each file that is made here must hash to;
`borrowed.json` says which files are other shipped models', and what those must hash to.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flenwheel_core.base.errors import MissingWeightsError, ResourceError
from flenwheel_core.models.model_files import CONFIGURATION
from flenwheel_core.models.packed_weights import PACKED, PLAIN, packed_name, plain_name, unpack_weights

BORROWED, DIGESTS = "borrowed.json", "plain.json"
ADDED = ".added.safetensors"
_FORMAT = 2
"""Part of what names a folder: raise it where the same packed files become other plain ones."""
_DIGITS = 12
_MAKING = ".making-"
_LEFT_AFTER_SECONDS = 24 * 3600.0
_KINDS = {"float16": "F16", "float32": "F32", "int64": "I64"}

_log = logging.getLogger(__name__)
_Stamp = tuple[int, int, int]
_compared: dict[Path, _Stamp] = {}
"""Files whose content this process has compared, and their size, time and inode then."""


@dataclass(frozen=True)
class _Source:
    """What a file of the ordinary folder is made of, and the sha256 it must have."""

    file: Path
    sha256: str
    added: Path | None = None


def is_packed(folder: Path) -> bool:
    """True for a shipped folder whose files are not all there as they are used."""
    return (folder / BORROWED).exists() or any(folder.glob(f"**/*{PACKED}"))


def unpacked(shipped: Path, name: str, kept: Path) -> Path:
    """The ordinary folder of the packed folder `shipped / name`, below `kept`.

    Its name holds the digest of what it is made of, and each file takes its place in one piece, so any number of processes may make it at
    once. Others may be able to write there too: the content of every file is compared once in a process and whenever the file changed,
    and what got lost or altered is made again. Raises ResourceError if it cannot be written, MissingWeightsError if the packed files are
    not the ones that were shipped.
    """
    sources, digest = _read(shipped, name)
    folder = kept / "nano" / f"{name}-{digest}"
    wrong = {inside: source for inside, source in sources.items() if not _is_right(folder / inside, source.sha256)}
    try:
        if wrong:
            folder.parent.mkdir(parents=True, exist_ok=True)
            _remove_left(folder.parent)
        for inside, source in wrong.items():
            _make(source, folder / inside, folder.parent)
        _remove_strangers(folder, set(sources))
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
    total = hashlib.sha256(f"{_FORMAT}\n".encode())
    for inside, source in sources.items():
        parts = [_sha256(part) for part in (source.file, source.added) if part is not None]
        total.update(f"{inside} {source.sha256} {parts}\n".encode())
    return sources, total.hexdigest()[:_DIGITS]


def _sources(shipped: Path, packed: Path) -> dict[str, _Source]:
    own = {path.relative_to(packed).as_posix(): path for path in sorted(packed.rglob("*")) if path.is_file()}
    borrowed, digests = (_table(own.get(table)) for table in (BORROWED, DIGESTS))
    found: dict[str, _Source] = {}
    for inside, path in own.items():
        plain = plain_name(inside)
        if inside in (BORROWED, DIGESTS) or inside.endswith(ADDED):
            continue
        found[plain] = _Source(path, _named(digests, plain, packed) if plain != inside else _sha256(path))
    for inside, lent in borrowed.items():
        file = shipped / lent["from"]
        file = file if file.exists() else file.with_name(packed_name(file.name))
        added = own.get(inside.removesuffix(PLAIN) + ADDED)
        found[inside] = _Source(file, lent["sha256"] if added is None else _named(digests, inside, packed), added)
    return dict(sorted(found.items()))


def _table(file: Path | None) -> dict[str, Any]:
    table: dict[str, Any] = {} if file is None else json.loads(file.read_text())
    return table


def _named(digests: dict[str, Any], inside: str, packed: Path) -> str:
    if inside not in digests:
        raise _damaged(packed / inside, f"{packed / DIGESTS} does not say what it must hash to.")
    return str(digests[inside])


def _damaged(file: Path, why: str) -> MissingWeightsError:
    return MissingWeightsError(
        f"The shipped weights of {file.parent.name}/{file.name} are not the ones that were packed.",
        why=why,
        remedy="Install FLENwheel again; in a checkout, `git status` says what changed.",
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _stamp(file: Path) -> _Stamp:
    found = file.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _is_right(file: Path, sha256: str) -> bool:
    """True if the file is there and holds what it must; its content is read only if this process has not compared it as it is now."""
    try:
        stamp = _stamp(file)
        if _compared.get(file) == stamp:
            return True
        found = _sha256(file)
    except OSError:  # it is not there, or not for this user
        return False
    if found != sha256:
        _log.warning("%s is not what was unpacked there: it is made again.", file)
        return False
    _compared[file] = stamp
    return True


def _make(source: _Source, target: Path, beside: Path) -> None:
    """Writes a file under another name in `beside` first: whoever looks finds it whole or not at all, even after a power cut."""
    part = Path(tempfile.mkdtemp(prefix=_MAKING, dir=beside))
    try:
        made = part / target.name
        if not source.file.name.endswith(PACKED):
            shutil.copyfile(source.file, made)
        else:
            made.write_bytes(unpack_weights(source.file))
        if source.added is not None:
            from safetensors.numpy import load_file

            made.write_bytes(with_added(made.read_bytes(), load_file(source.added)))
        if (found := _sha256(made)) != source.sha256:
            raise _damaged(
                source.file, f"they become a file with the digest {found[:_DIGITS]}, not {source.sha256[:_DIGITS]}."
            )
        with made.open("rb+") as written:
            os.fsync(written.fileno())
        target.parent.mkdir(parents=True, exist_ok=True)
        stamp = _stamp(made)
        made.replace(target)
        _compared[target] = stamp
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _remove_left(folder: Path) -> None:
    """What processes that were killed left behind; another process may be making a newer one now."""
    for left in folder.glob(f"{_MAKING}*"):
        try:
            old = time.time() - left.stat().st_mtime > _LEFT_AFTER_SECONDS
        except FileNotFoundError:  # it was finished meanwhile
            continue
        if old:
            shutil.rmtree(left, ignore_errors=True)


def _remove_strangers(folder: Path, names: set[str]) -> None:
    """Files that a loader would read beside the model's own, or in their place."""
    for path in folder.rglob("*"):
        if path.suffix in CONFIGURATION | {PLAIN} and path.relative_to(folder).as_posix() not in names:
            _log.warning("%s is no file of this model: it is removed.", path)
            path.unlink(missing_ok=True)


def with_added(weights: bytes, added: dict[str, NDArray[Any]]) -> bytes:
    """A safetensors file with further tensors."""
    from safetensors.numpy import load

    return _safetensors(load(weights) | added)


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
