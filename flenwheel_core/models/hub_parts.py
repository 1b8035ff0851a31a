"""Large files of the Hub, gone on with byte by byte.

The Hub's client keeps whole files only: one that breaks off is thrown away. Here a file grows under its digest beside the snapshots and is
moved to the client's blobs when its last byte is there; the client then links it. Another content has another digest, so it begins anew.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from flenwheel_core.base.locks import FileLock

_AT_ONCE = 8
"""Files that are fetched at the same time, as many as the client takes."""
_SAY_EVERY_SECONDS = 30.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LargeFile:
    """A file that the Hub names by its sha256."""

    name: str
    digest: str
    size: int


def part_path(repository: Path, digest: str) -> Path:
    """Where a file grows; `repository` is its folder in the client's cache."""
    return repository / "flenwheel" / "parts" / digest


def arrived_bytes(repository: Path, digest: str, size: int) -> int:
    """How much of a file is here, whole or not."""
    for path in (repository / "blobs" / digest, part_path(repository, digest)):
        if path.is_file():
            return min(size, path.stat().st_size)
    return 0


def fetch_large(repository: Path, hub_id: str, commit: str, files: Mapping[str, tuple[str, int]]) -> None:
    """Brings files, given as name: (sha256, bytes), into the client's blobs. Their bytes are counted here, not yet compared.

    What arrived stays if it breaks off, however it does. Raises what the client raises.
    """
    from huggingface_hub import constants

    wanted = [
        LargeFile(name, digest, size)
        for name, (digest, size) in files.items()
        # Larger ones come in the client's own way only.
        if size <= constants.MAX_HTTP_DOWNLOAD_SIZE and not (repository / "blobs" / digest).is_file()
    ]
    if not wanted:
        return
    here = sum(arrived_bytes(repository, file.digest, file.size) for file in wanted)
    with _Meter(hub_id, here, sum(file.size for file in wanted)) as meter, ThreadPoolExecutor(_AT_ONCE) as pool:
        running = [pool.submit(_fetch, repository, hub_id, commit, file, meter) for file in wanted]
        try:
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
        finally:
            # After a failure or Ctrl-C the others end at their next piece.
            meter.stop()
            for future in running:
                future.cancel()
        for future in done:
            future.result()


def remove_left_parts(repository: Path) -> None:
    """Removes begun files that nobody fetches: once a model is here, they are of contents that changed."""
    for path in part_path(repository, "").glob("*"):
        with FileLock(path) as lock:
            if lock.try_to_take():
                path.unlink(missing_ok=True)


def _fetch(repository: Path, hub_id: str, commit: str, file: LargeFile, meter: "_Meter") -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # loaded lazily

    part, blob = part_path(repository, file.digest), repository / "blobs" / file.digest
    with _held(part, file.name, meter):
        if blob.is_file():
            part.unlink(missing_ok=True)
            return
        with part.open("r+b") as out:
            if out.seek(0, 2) > file.size:
                out.truncate(0)
            start = out.seek(0, 2)
            if start:
                _log.info("%s: going on after %.2f of %.2f GiB", file.name, start / 2**30, file.size / 2**30)
            http_get(
                # The address that redirects, so that each attempt gets a fresh signature.
                hf_hub_url(hub_id, file.name, revision=commit),
                out,
                resume_size=start,
                headers={**build_hf_headers(), "Accept-Encoding": "identity"},
                expected_size=file.size,
                displayed_filename=file.name,
                tqdm_class=meter.bar_class(),
            )
        blob.parent.mkdir(parents=True, exist_ok=True)
        part.replace(blob)


@contextmanager
def _held(part: Path, name: str, meter: "_Meter") -> Iterator[None]:
    """Held by one process at a time. The lock is on the part itself, and goes with it when it is moved: then a new one is begun."""
    said = False
    while True:
        with FileLock(part) as lock:
            if lock.try_to_take() and part.is_file() and part.stat().st_ino == os.fstat(lock.descriptor).st_ino:
                yield
                return
        if not said:
            _log.info("%s: another process fetches it; waiting", name)
            said = True
        meter.require_going()
        time.sleep(0.5)


class _StoppedError(Exception):
    """Another file failed, or a person stopped it."""


class _Meter:
    """One bar for all files in a terminal; elsewhere a line now and then."""

    def __init__(self, title: str, done: int, total: int) -> None:
        from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]  # loaded lazily

        self._title, self._done, self._total = title, done, total
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._began, self._first = time.monotonic(), done
        self._said = self._began
        # None: only where the output is a terminal.
        self._bar = tqdm(total=total, initial=done, unit="B", unit_scale=True, desc=title, disable=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def stop(self) -> None:
        self._stopped.set()

    def require_going(self) -> None:
        if self._stopped.is_set():
            raise _StoppedError

    def add(self, size: int) -> None:
        """So many bytes more, or fewer where a server began anew."""
        self.require_going()
        with self._lock:
            self._done += size
            self._bar.update(size)
            now = time.monotonic()
            if self._bar.disable and now - self._said >= _SAY_EVERY_SECONDS:
                self._said = now
                _log.info("%s: %s", self._title, self._standing(now))

    def _standing(self, now: float) -> str:
        text = f"{self._done / 2**30:.2f} of {self._total / 2**30:.2f} GiB"
        rate = (self._done - self._first) / (now - self._began)
        if rate <= 0:
            return text
        return f"{text}, {rate / 2**20:.1f} MiB/s, {(self._total - self._done) / rate / 60:.0f} minutes left"

    def bar_class(self) -> Any:
        """What the client takes for the bar of one file."""
        meter = self

        class Part:
            def __init__(self, **_: object) -> None:
                pass

            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None:
                pass

            def update(self, size: int) -> None:
                meter.add(size)

        return Part
