"""Publishing to a folder: it is there whole, or as it was before."""

import glob
import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from flenwheel_core.base.disk import disk_error
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.given_path import given_path
from flenwheel_core.publishing.bundle import RECORD, Bundle, Publication, require_same_subject
from flenwheel_core.requests.publish import PublishedFile, PublishResult


def publish_to_folder(bundle: Bundle, place: str, *, note: Callable[[str], None]) -> PublishResult:
    """Makes a folder that holds exactly these files. Raises InputError for a folder that holds anything else, or another publication."""
    folder, record = given_path(place).absolute(), bundle.record()
    _put_back(folder)
    if folder.exists():
        standing = _record_of(folder)
        if standing is not None:
            require_same_subject(standing, bundle, str(folder))
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
    record = None
    if (folder / RECORD).is_file():
        record = Publication.from_bytes((folder / RECORD).read_bytes(), where=str(folder / RECORD))
    known = {RECORD, *(file.name for file in record.files)} if record is not None else set[str]()
    folders = {str(parent) for name in known for parent in PurePosixPath(name).parents}
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    others = [name for name in found if name not in known | folders]
    if others:
        raise InputError(
            f"{folder} holds files that were not published from here.",
            why=f"such as {others[0][:80]}; the whole folder would be replaced.",
            remedy="Move them away, or choose a folder that is new or empty.",
        )
    return record


def _put_back(folder: Path) -> None:
    """Ends what a killed process left between its two renames: the old folder stands again, or goes if the new one stands."""
    for old in sorted(folder.parent.glob(f".{glob.escape(folder.name)}.old-*")):
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(folder)


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
