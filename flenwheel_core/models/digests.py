"""Digests of model folders: every byte counts, and each file is read once.

What a file's bytes hash to is remembered by its path, size, time and inode, so that hashing 30 GB again costs a `stat` a file.
"""

import hashlib
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flenwheel_core.base.ids import digest_json
from flenwheel_core.models.model_files import CONFIGURATION, folder_files

_BLOCK_BYTES = 8 << 20
_READERS = 4
_REMEMBERED_FROM = 1 << 20
"""Smaller files are hashed in no time."""
_CLOCK_GRAIN_NS = 2 * 10**9
"""A file that changed just now may change once more within the same tick of its file system's clock: it is not remembered."""
_SAY_EVERY_SECONDS = 5.0
_PIN_LENGTH = 12

_log = logging.getLogger(__name__)
_being_read: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)


def folder_digest(folder: Path, memory: Path | None = None) -> str:
    """Names the weights and the configuration of a model folder, or of one part of a pipeline; `memory` keeps what files hash to."""
    names = folder_files(folder).names
    hashed = file_digests([folder / name for name in names], memory)
    return digest_of_files(list(zip(names, hashed, strict=True)))


def digest_of_files(files: Sequence[tuple[str, str]]) -> str:
    """The digest of a model whose files have these names and digests."""
    total = hashlib.sha256()
    for name, digest in files:
        total.update(f"{name} {digest}\n".encode())
    return total.hexdigest()


def pin_of(digest: str) -> str:
    """The part of a folder's digest that pinned references are written with."""
    return digest[:_PIN_LENGTH]


def all_files_digest(folder: Path, memory: Path) -> str:
    """The digest that folders were pinned by before files beside the model stopped counting."""
    kept = CONFIGURATION | {".safetensors"}
    paths = sorted(path for path in folder.rglob("*") if path.suffix in kept and path.is_file())
    names = [str(path.relative_to(folder)) for path in paths]
    return digest_of_files(list(zip(names, file_digests(paths, memory), strict=True)))


def file_digests(paths: Sequence[Path], memory: Path | None) -> list[str]:
    """The sha256 of each file, in order: remembered, or read now, several at a time."""
    known = [_remembered(path, memory) for path in paths]
    unknown = [path for path, digest in zip(paths, known, strict=True) if digest is None]
    meter = _Meter(sum(path.stat().st_size for path in unknown))
    with ThreadPoolExecutor(min(_READERS, os.cpu_count() or 1)) as readers:
        read = iter(list(readers.map(lambda path: _hash(path, memory, meter), unknown)))
    return [digest if digest is not None else next(read) for digest in known]


class _Meter:
    """Says every few seconds how far the hashing is; silent where it takes a moment only."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._lock = threading.Lock()
        self._said = time.monotonic()

    def add(self, size: int) -> None:
        with self._lock:
            self._done += size
            now = time.monotonic()
            if now - self._said < _SAY_EVERY_SECONDS:
                return
            self._said = now
            _log.info("hashing weights: %.1f of %.1f GiB", self._done / 2**30, self._total / 2**30)


def _hash(path: Path, memory: Path | None, meter: _Meter) -> str:
    with _being_read[path]:
        found = _remembered(path, memory)  # by another thread, which this one waited for
        return found if found is not None else _read(path, memory, meter)


def _read(path: Path, memory: Path | None, meter: _Meter) -> str:
    before = _place(path, memory)
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            total.update(block)
            meter.add(len(block))
    digest = total.hexdigest()
    if before is not None and before == _place(path, memory):
        before.parent.mkdir(parents=True, exist_ok=True)
        partial = before.with_name(f".{before.name}.{os.getpid()}.{threading.get_ident()}")
        partial.write_text(digest)
        partial.replace(before)
    return digest


def _remembered(path: Path, memory: Path | None) -> str | None:
    place = _place(path, memory)
    try:
        digest = place.read_text() if place is not None else ""
    except OSError:
        return None
    return digest if len(digest) == 64 else None


def _place(path: Path, memory: Path | None) -> Path | None:
    """Where a file's digest is kept; None for files that are not worth it, or too new."""
    if memory is None:
        return None
    facts = path.stat()
    if facts.st_size < _REMEMBERED_FROM or time.time_ns() - facts.st_mtime_ns < _CLOCK_GRAIN_NS:
        return None
    key = digest_json([str(path.resolve()), facts.st_size, facts.st_mtime_ns, facts.st_ino])
    return memory / "files" / key[:2] / key
