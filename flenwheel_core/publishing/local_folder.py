"""Publishing to a folder: it is there whole, or as it was before."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from flenwheel_core.base.disk import disk_error
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.given_path import given_path
from flenwheel_core.publishing.bundle import RECORD, Bundle, Publication
from flenwheel_core.requests.publish import PublishedFile, PublishResult


def publish_to_folder(bundle: Bundle, place: str, *, note: Callable[[str], None]) -> PublishResult:
    """Makes a folder that holds exactly these files. Raises InputError for a folder of anything else."""
    folder, record = given_path(place).absolute(), bundle.record()
    if folder.exists():
        standing = _record_of(folder)
        if standing == record and all(_is_whole(folder, file.name, file.size_bytes) for file in record.files):
            note(f"{folder} holds these files already")
            return _result(folder, record)
    try:
        _replace(folder, bundle, record)
    except OSError as error:
        problem = disk_error(error, str(folder))
        raise problem if problem is not None else error from error
    return _result(folder, record)


def _record_of(folder: Path) -> Publication | None:
    """The record of an earlier publication; None for an empty folder. Raises InputError for others' files."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder.", remedy="Choose another place.")
    if (folder / RECORD).is_file():
        return Publication.from_bytes((folder / RECORD).read_bytes(), where=str(folder / RECORD))
    if any(folder.iterdir()):
        raise InputError(
            f"{folder} holds files that were not published from here.",
            why="the whole folder would be replaced.",
            remedy="Choose a folder that is new or empty.",
        )
    return None


def _replace(folder: Path, bundle: Bundle, record: Publication) -> None:
    """Writes a folder beside it, and puts that in its place."""
    made, old = (folder.with_name(f".{folder.name}.{word}-{os.getpid()}") for word in ("new", "old"))
    shutil.rmtree(made, ignore_errors=True)
    for name, data in {**bundle.files, RECORD: record.to_bytes()}.items():
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    if folder.exists():
        folder.rename(old)
    made.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _is_whole(folder: Path, name: str, size_bytes: int) -> bool:
    path = folder / name
    return path.is_file() and path.stat().st_size == size_bytes


def _result(folder: Path, record: Publication) -> PublishResult:
    return PublishResult(
        to="folder",
        address=folder.as_uri(),
        files=tuple(
            PublishedFile(
                name=file.name,
                digest=file.sha256,
                size_bytes=file.size_bytes,
                address=(folder / file.name).as_uri(),
            )
            for file in record.files
        ),
        digest=record.digest,
    )
