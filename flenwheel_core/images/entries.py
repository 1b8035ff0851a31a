"""What lies in a folder that a person gives: which entries are files that can be read, and the bytes of one.

A folder may hold links to nowhere, pipes, devices, files of somebody else, and names in no known encoding. Each of them is one line,
and never the end of the others.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flenwheel_core.base.errors import InputError
from flenwheel_core.images.names import printable_name, printable_path, written_name
from flenwheel_core.images.reading import SUFFIXES

PICTURE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes) | {".avif"}
MAXIMUM_BYTES = 400 * 2**20
"""Larger files are not read."""

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)
HIDDEN = "its name begins with a dot, which hides it"
_FORKS = "._"
"""macOS keeps the resource fork of `x.png` as `._x.png` on other disks: never a picture, nothing to tell anybody."""


@dataclass(frozen=True)
class Entry:
    """A file of a folder. Nothing of it has been read yet."""

    name: str
    """Path below the folder, with forward slashes, in letters that can be written down."""
    path: Path


@dataclass(frozen=True)
class Entries:
    """The files of a folder in the order of their names, and one line about everything else that somebody may miss."""

    files: tuple[Entry, ...]
    notes: tuple[str, ...]


def list_entries(folder: Path) -> Entries:
    """Every file below a folder, hidden ones and links that lead out of it aside. Raises InputError for no folder."""
    try:
        root = folder.resolve(strict=True)
        if not stat.S_ISDIR(root.stat().st_mode):
            raise InputError(f"{folder} is no folder.", remedy="Give a folder of pictures, or a picture.")
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"There is no folder {folder}.", why=_reason(error), remedy="Give a folder of pictures, or a picture."
        ) from error
    files: list[Entry] = []
    notes: list[str] = []
    for path in _walk(folder, notes):
        name = written_name(path.relative_to(folder).as_posix())
        trouble = _trouble(path, root)
        if trouble is None:
            files.append(Entry(name, path))
        else:
            notes.append(f"{printable_path(name)}: left out, {trouble}.")
    return Entries(tuple(sorted(files, key=lambda file: file.path)), tuple(notes))


def _walk(top: Path, notes: list[str]) -> Iterator[Path]:
    """Everything below a folder that is no folder itself. Links to folders are handed out, not followed."""
    folders = [top]
    while folders:
        folder = folders.pop()
        try:
            found = sorted(folder.iterdir())
        except OSError as error:
            name = printable_path(folder.relative_to(top).as_posix())
            notes.append(f"{name}: left out, the folder cannot be read ({_reason(error)}).")
            continue
        for path in found:
            is_folder = _is_folder(path)
            if path.name.startswith("."):
                hidden = _hidden_picture(path, is_folder=is_folder)
                if hidden:
                    notes.append(f"{printable_path(path.relative_to(top).as_posix())}: left out, {hidden}.")
            elif is_folder:
                folders.append(path)
            else:
                yield path


def is_file(path: Path) -> bool:
    """True for a file or a link to one; never an error, whatever lies there."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, RuntimeError, ValueError):
        return False


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def is_missed(name: str) -> bool:
    """True for the name of a hidden file that somebody may take for a picture."""
    path = PurePosixPath(name)
    hidden = path.name.startswith(".") and not path.name.startswith(_FORKS)
    return hidden and path.suffix.lower() in PICTURE_SUFFIXES


def _hidden_picture(path: Path, *, is_folder: bool) -> str | None:
    """Why a hidden entry is left out, if it looks like somebody's picture."""
    if not is_folder:
        return HIDDEN if is_missed(path.name) else None
    try:
        holds = any(inner.suffix.lower() in PICTURE_SUFFIXES for inner in path.iterdir() if inner.name[0] != ".")
    except OSError:
        return None
    return "the folder's name begins with a dot, which hides it and the pictures in it" if holds else None


def _trouble(path: Path, root: Path) -> str | None:
    """Why an entry is no file that can be read; None if it is one."""
    try:
        if not path.resolve().is_relative_to(root):
            return "it is a link that leads out of the folder"
        mode = path.stat().st_mode
    except (OSError, RuntimeError) as error:
        return "it is a link to nothing" if path.is_symlink() else f"it cannot be read ({_reason(error)})"
    if path.is_symlink() and stat.S_ISDIR(mode):
        return "it is a link to a folder, which is not followed"
    return next((f"it is {kind}, not a file" for is_kind, kind in _KINDS if is_kind(mode)), None)


def read_entry(path: Path, maximum_bytes: int = MAXIMUM_BYTES) -> bytes:
    """The bytes of a file that somebody gave. Raises InputError for one that is no file, too large, or cannot be read."""
    shown = printable_name(path.name)
    try:
        # Without O_NONBLOCK, opening a pipe waits until somebody writes into it, perhaps for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise InputError(f"{shown} is not a file.", remedy="Give a picture or a folder of pictures.")
            data = None if facts.st_size > maximum_bytes else file.read(maximum_bytes + 1)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{shown} cannot be read.", why=_reason(error), remedy="Check the file and its permissions."
        ) from error
    if data is None or len(data) > maximum_bytes:
        raise InputError(
            f"{shown} is too large.",
            why=f"files above {maximum_bytes / 2**20:.0f} MiB are not read.",
            remedy="Export it smaller.",
        )
    return data


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
