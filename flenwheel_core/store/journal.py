"""Append-only journals: every line is on disk before `append` returns, and none is ever changed.

On a local disk a journal is one JSONL file, appended under a kernel lock. On an object store, which cannot append, what is written in one
go, mostly a line, is one object, numbered; several machines write at once by conditional writes.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import CorruptManifestError, SealedJournalError
from flenwheel_core.base.locks import locked
from flenwheel_core.store.files import MOST_TRIES, WAIT_SECONDS, Files

PROBES = 8
"""So many objects after the last known one are asked for by their numbers, before the whole journal is listed."""
SEAL = b"sealed"
"""Stands in the place of the object after the last one: no line is like it."""
Line = TypeVar("Line", bound=Document)


class Journal(Generic[Line]):
    """Lines of one kind, in the order in which they were written."""

    def __init__(self, files: Files, name: str, kind: type[Line]) -> None:
        self._files = files
        self.name = name
        self._kind = kind
        self._next: int | None = None
        """On an object store: the number that is free as far as this one knows."""
        self._sealed = False

    def append(self, line: Line) -> None:
        """Writes one line durably. Safe from several processes at once."""
        self.extend((line,))

    def extend(self, lines: "tuple[Line, ...] | list[Line]") -> None:
        """Writes several lines in one go: after a crash, or beside a seal, either all or none of them are there."""
        data = [line.to_bytes() for line in lines]
        if not data:
            return
        if self._files.local is not None:
            try:
                _append_local(self._files.local / f"{self.name}.jsonl", data)
            except OSError as error:
                raise self._files.failed("write", f"{self.name}.jsonl", error) from error
            return
        self._append_remote(b"\n".join(data))

    @property
    def written(self) -> int | None:
        """On an object store: the position after what this one wrote last, if it is known."""
        return self._next

    def _append_remote(self, item: bytes) -> None:
        """The first free number is taken by a conditional write: of several writers one gets it, the others take the next.

        A write whose answer was lost is sent again by the client, and finds what it wrote there: that is no other writer's.
        """
        if self._next is None:
            self._next = self._free_number()
        tries = 0
        while not self._sealed and not self._files.create(path := self._numbered(self._next), item, look_first=False):
            try:
                standing = self._files.read(path)
            except FileNotFoundError:
                # Another writer is at it right now: a store may refuse a second one before the first is done.
                tries += 1
                if tries > MOST_TRIES:
                    raise self._files.failed("write", path, OSError("it is neither there nor can it be made")) from None
                time.sleep(WAIT_SECONDS)
                continue
            if standing == item:
                break
            self._sealed = standing == SEAL
            self._next += 1
        if self._sealed:
            raise SealedJournalError(
                f"The journal {self.name} takes no more lines.", why="What it says was frozen a moment ago."
            )
        self._next += 1

    def _free_number(self) -> int:
        """The number after the last line, as things stand."""
        paths = list(self._files.list(self.name))
        if paths:
            self._sealed = self._files.read(paths[-1]) == SEAL
        return len(paths)

    def seal(self, position: int) -> bool:
        """Ends the journal after the lines before `position`, which `read_after` returned; False if there are more by now.

        On a local disk a lock around writing and freezing does it (`gates/session.py`), and nothing is written here.
        """
        if self._files.local is not None or self._sealed:
            return True
        return self._files.create(self._numbered(position), SEAL, look_first=False)

    def _numbered(self, number: int) -> str:
        return f"{self.name}/{number:09d}.json"

    def _lines_of(self, data: list[bytes]) -> list[bytes]:
        """The lines of these objects, without the seal; once it was seen, nothing follows."""
        self._sealed = self._sealed or SEAL in data
        return [line for written in data if written != SEAL for line in written.split(b"\n")]

    def read(self) -> Iterator[Line]:
        """Every whole line. A torn last line (a crash in the middle of a write) is left out; other damage raises."""
        for number, data in enumerate(self._raw(), start=1):
            yield self._kind.from_bytes(data, where=f"Line {number} of the journal {self.name}")

    def read_after(self, position: int) -> tuple[list[Line], int]:
        """The whole lines after a position that an earlier call returned (0 at first), and the position after them.

        Raises CorruptManifestError for a journal that became shorter (a failed write was taken back): read it anew from 0.
        """
        if self._files.local is None:
            objects = self._objects_after(position)
            data, end = self._lines_of(objects), position + len(objects)
            self._next = max(self._next or 0, end)
        else:
            data, end = _tail_local(self._files.local / f"{self.name}.jsonl", position)
        if end < position:
            raise CorruptManifestError(f"The journal {self.name} became shorter.", remedy="Read it from its beginning.")
        where = f"A line after position {position} of the journal {self.name}"
        return [self._kind.from_bytes(line, where=where) for line in data], end

    def _objects_after(self, position: int) -> list[bytes]:
        """The objects from this number on. A long journal is listed only if many are new: whoever follows it asks for the next ones."""
        found: list[bytes] = []
        for number in range(position, position + PROBES) if position else ():
            try:
                found.append(self._files.read(self._numbered(number)))
            except FileNotFoundError:
                if not found:
                    self._require_the_last(position)
                return found
        paths = list(self._files.list(self.name))
        return found + self._files.read_many(paths[position + len(found) :])

    def _require_the_last(self, position: int) -> None:
        """Where nothing is new, the object before is there still, or the journal is another one than it was."""
        if not self._files.exists(self._numbered(position - 1)):
            self._next = None
            raise CorruptManifestError(f"The journal {self.name} became shorter.", remedy="Read it from its beginning.")

    def _raw(self) -> Iterator[bytes]:
        if self._files.local is None:
            yield from self._lines_of(self._files.read_many(list(self._files.list(self.name))))
            return
        local = self._files.local / f"{self.name}.jsonl"
        if not local.exists():
            return
        with local.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                if line == b"\n":
                    continue
                try:
                    json.loads(line)
                except ValueError as error:
                    raise CorruptManifestError(
                        f"Line {number} of the journal {self.name} is damaged.",
                        why=str(error),
                        remedy=f"Repair or remove that line of {local}; every other line is intact.",
                    ) from error
                yield line


def _tail_local(path: Path, position: int) -> tuple[list[bytes], int]:
    """The whole lines after a byte position, and the position after them."""
    try:
        end = path.stat().st_size
    except FileNotFoundError:
        return [], 0
    if end <= position:
        return [], end
    with path.open("rb") as file:
        file.seek(position)
        tail = file.read(end - position)
    whole = tail[: tail.rfind(b"\n") + 1]
    return [line for line in whole.split(b"\n") if line], position + len(whole)


def _append_local(path: Path, lines: list[bytes]) -> None:
    with locked(path) as lock:
        descriptor = lock.descriptor
        end = os.lseek(descriptor, 0, os.SEEK_END)
        end = _cut_torn_line(descriptor, end)
        data = b"".join(line + b"\n" for line in lines)
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(descriptor, data[written:], end + written)
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise


def _cut_torn_line(descriptor: int, end: int) -> int:
    """Drops what a crashed writer left after the last whole line, so that the next line stands alone."""
    position = end
    while position > 0:
        start = max(0, position - 4096)
        found = os.pread(descriptor, position - start, start).rfind(b"\n")
        if found >= 0:
            position = start + found + 1
            break
        position = start
    if position < end:
        os.ftruncate(descriptor, position)
    return position
