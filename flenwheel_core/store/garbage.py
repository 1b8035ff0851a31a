"""Removes what nothing references: blobs, tables, unfinished writes, the scratch of finished stages and the states of trainings that were
given up. Never anything else."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from flenwheel_core.base.settings import Settings
from flenwheel_core.store import Store
from flenwheel_core.store.links import digests_in, documents, reachable

KEEP_SECONDS = 24 * 3600
"""Younger files are left alone: a running stage writes its blobs before the line that refers to them."""

GIVEN_UP_SECONDS = 28 * 24 * 3600
"""A training that wrote no state for so long is not gone on with from there; one that is tried again begins anew."""


@dataclass(frozen=True)
class Garbage:
    """What can go."""

    files: tuple[str, ...]
    """Paths in the store."""
    folders: tuple[Path, ...]
    """Scratch folders of finished stages, on this machine."""
    size_bytes: int


def find_garbage(
    settings: Settings, *, keep_seconds: float = KEEP_SECONDS, given_up_seconds: float = GIVEN_UP_SECONDS
) -> Garbage:
    """What nothing references and is old enough. Reads every manifest and journal, so a damaged one stops it with an error."""
    store = Store(settings.store_url, settings.store_options)
    roots: set[str] = set()
    over = _states_of_no_use(store, given_up_seconds)
    for path, data in documents(store):
        roots |= digests_in(data) if path not in over else set()
    kept = reachable(store, roots)
    files = []
    size = 0
    for path in [*store.files.list("blobs"), *store.files.list("tables")]:
        digest = path.rsplit("/", 1)[-1].removesuffix(".parquet")
        if digest not in kept and _old(store, path, keep_seconds):
            files.append(path)
            size += store.files.size(path)
    for path in over:
        files.append(path)
        size += store.files.size(path)
    folders = _finished_scratch(store, settings)
    size += sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())
    leftovers = _leftovers(store, keep_seconds)
    size += sum(path.stat().st_size for path in leftovers)
    return Garbage(tuple(files), (*folders, *leftovers), size)


def remove_garbage(settings: Settings, garbage: Garbage) -> None:
    """Removes what find_garbage found."""
    store = Store(settings.store_url, settings.store_options)
    for path in garbage.files:
        store.files.delete(path)
    for folder in garbage.folders:
        if folder.is_dir():
            shutil.rmtree(folder)
        else:
            folder.unlink(missing_ok=True)


def _old(store: Store, path: str, keep_seconds: float) -> bool:
    return time.time() - store.files.modified(path) >= keep_seconds


def _states_of_no_use(store: Store, given_up_seconds: float) -> list[str]:
    """States of trainings whose manifest is written (what ended then did not come to removing them), and of those that were given up."""
    listed = set(store.files.list("stages"))
    states: dict[str, list[str]] = {}
    for path in sorted(listed):
        stage, found, _ = path.partition("/states/")
        if found:
            states.setdefault(stage, []).append(path)
    return [
        path
        for stage, paths in states.items()
        if f"{stage}/manifest.json" in listed or all(_old(store, path, given_up_seconds) for path in paths)
        for path in paths
    ]


def _finished_scratch(store: Store, settings: Settings) -> tuple[Path, ...]:
    """Scratch of stages whose manifest is written: checkpoints that nothing will resume from."""
    found = []
    for folder in sorted(settings.scratch.glob("*/*")):
        if folder.is_dir() and store.files.exists(f"stages/{folder.parent.name}/{folder.name}/manifest.json"):
            found.append(folder)
    return tuple(found)


def _leftovers(store: Store, keep_seconds: float) -> tuple[Path, ...]:
    """Temporary files of writes that a crash cut short."""
    if store.files.local is None or not store.files.local.exists():
        return ()
    now = time.time()
    return tuple(path for path in store.files.local.rglob(".tmp-*") if now - path.stat().st_mtime >= keep_seconds)
