"""What an object store held a moment ago: for pages that show many things, and need not be exact to the second.

An object store is asked over the network, and answers one question after the other: a page about a thousand gates would ask thousands.
Here a few folders are listed as a whole, now and then, in the background, and what was read once is not read again while its stamp stays
the same. What this process writes is seen at once. Whoever decides or writes asks the store itself.
"""

import threading
import time
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.store.files import Files
from flenwheel_core.store.store import Store

FOLDERS = ("documents/characters", "documents/reviews", "journals/characters", "journals/reviews")
FRESH_SECONDS = 2.0
"""A listing is as old as this before the next one begins."""
SHARE_OF_TIME = 0.1
"""Listings take at most this part of the time: the longer one takes, the more seldom it is made."""
AT_ONCE = 32
"""Files that are read ahead at a time: what a person waits for stands behind no more than these."""
MOST_BYTES = 256 * 2**20
"""Of contents that are remembered; those that were used longest ago go first."""

Kind = TypeVar("Kind", bound=Document)


@dataclass
class Listing:
    """The files of a folder, as of one moment."""

    stamps: dict[str, str]
    seconds: float
    """How long it took."""
    at: float
    version: int
    """Another one where anything is different."""
    paths: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.paths = sorted(self.stamps)

    def note(self, path: str, stamp: str | None) -> None:
        """A file that was written since, or deleted (None)."""
        if stamp is None and self.stamps.pop(path, None) is not None:
            self.paths.remove(path)
        elif stamp is not None:
            if path not in self.stamps:
                insort(self.paths, path)
            self.stamps[path] = stamp

    def below(self, folder: str) -> list[str]:
        """The files of a folder in it, or of itself."""
        return self.paths[bisect_left(self.paths, f"{folder}/") : bisect_left(self.paths, f"{folder}0")]

    @property
    def is_old(self) -> bool:
        return time.monotonic() - self.at > max(FRESH_SECONDS, self.seconds / SHARE_OF_TIME)


class RecentFiles(Files):
    """Files of an object store. Only reading and listing are recent; all else is the store's own."""

    def __init__(self, exact: Files) -> None:
        self.__dict__.update(exact.__dict__)
        self._exact = exact
        self._lock = threading.RLock()
        self._listings: dict[str, Listing] = {}
        self._refreshing: set[str] = set()
        self._first = {folder: threading.Lock() for folder in FOLDERS}
        self._written: dict[str, str | None] = {}
        """What this process wrote (a stamp of its own) or deleted (None) while a listing was made."""
        self._contents: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._bytes = 0
        exact.watchers.append(self._note)

    def exists(self, path: str) -> bool:
        listing = self._listing(path)
        return self._exact.exists(path) if listing is None else path in listing.stamps

    def read(self, path: str) -> bytes:
        listing = self._listing(path)
        if listing is None:
            return self._exact.read(path)
        if path not in listing.stamps:
            raise FileNotFoundError(path)
        return self._remembered(path, listing.stamps[path]) or self._remember(
            path, listing.stamps[path], self._exact.read(path)
        )

    def read_many(self, paths: Sequence[str]) -> list[bytes]:
        known = {path: self._known(path) for path in paths}
        missing = [path for path, data in known.items() if data is None]
        for path, data in zip(missing, self._exact.read_many(missing), strict=True):
            listing = self._listing(path)
            known[path] = data if listing is None else self._remember(path, listing.stamps.get(path, ""), data)
        return [data for data in known.values() if data is not None]

    def list(self, folder: str) -> Iterator[str]:
        listing = self._listing(folder)
        yield from self._exact.list(folder) if listing is None else listing.below(folder)

    def read_ahead(self, folder: str) -> None:
        """Reads what is in a folder and was not read yet, many files at once: one after the other would take as long as each answer."""
        waiting = [path for path in self.list(folder) if self._known(path) is None]
        for start in range(0, len(waiting), AT_ONCE):
            with suppress(FileNotFoundError):  # deleted since: whoever reads the others asks for each
                self.read_many(waiting[start : start + AT_ONCE])

    def version(self, folder: str) -> int:
        """A number that changes when anything in one of the folders does."""
        listing = self._listing(folder)
        assert listing is not None, folder
        return listing.version

    def stamped(self, folder: str) -> tuple[str, ...]:
        """What tells a folder's contents from those of another moment."""
        listing = self._listing(folder)
        assert listing is not None, folder
        return tuple(f"{path} {listing.stamps[path]}" for path in listing.below(folder))

    def _known(self, path: str) -> bytes | None:
        listing = self._listing(path)
        stamp = None if listing is None else listing.stamps.get(path)
        return None if stamp is None else self._remembered(path, stamp)

    def _remembered(self, path: str, stamp: str) -> bytes | None:
        with self._lock:
            known = self._contents.get(path)
            if known is None or known[0] != stamp:
                return None
            self._contents.move_to_end(path)
            return known[1]

    def _remember(self, path: str, stamp: str, data: bytes) -> bytes:
        with self._lock:
            old = self._contents.pop(path, None)
            self._contents[path] = (stamp, data)
            self._bytes += len(data) - (len(old[1]) if old is not None else 0)
            while self._bytes > MOST_BYTES:
                self._bytes -= len(self._contents.popitem(last=False)[1][1])
        return data

    def _listing(self, path: str) -> Listing | None:
        """The listing that a path belongs to; None for one that belongs to none."""
        folder = next((one for one in FOLDERS if path == one or path.startswith(f"{one}/")), None)
        if folder is None:
            return None
        with self._lock:
            found = self._listings.get(folder)
            if found is not None and found.is_old and folder not in self._refreshing:
                self._refreshing.add(folder)
                threading.Thread(target=self._refresh_folder, args=(folder,), name="recent", daemon=True).start()
        if found is not None:
            return found
        with self._first[folder]:  # of several that ask at once, one lists
            return self._listings.get(folder) or self._made(folder)

    def _refresh_folder(self, folder: str) -> None:
        try:
            self._made(folder)
        except (FlenwheelError, OSError):
            pass  # what was known stands until the store answers
        finally:
            self._refreshing.discard(folder)

    def _made(self, folder: str) -> Listing:
        with self._lock:
            self._written = {path: stamp for path, stamp in self._written.items() if not path.startswith(f"{folder}/")}
        began = time.monotonic()
        stamps = self._exact.stamps(folder)
        with self._lock:
            for path, stamp in self._written.items():
                if path.startswith(f"{folder}/") and (stamp is None or path not in stamps):
                    _apply(stamps, path, stamp)
            old = self._listings.get(folder)
            version = 0 if old is None else old.version + (stamps != old.stamps)
            now = time.monotonic()
            self._listings[folder] = Listing(stamps, now - began, now, version)
            return self._listings[folder]

    def _note(self, path: str, there: bool) -> None:
        """This process wrote or deleted a file of the store."""
        folder = next((one for one in FOLDERS if path.startswith(f"{one}/")), None)
        if folder is None:
            return
        with self._lock:
            stamp = f"written {time.monotonic_ns()}" if there else None
            self._written[path] = stamp
            listing = self._listings.get(folder)
            if listing is not None:
                listing.note(path, stamp)
                listing.version += 1


def _apply(stamps: dict[str, str], path: str, stamp: str | None) -> None:
    if stamp is None:
        stamps.pop(path, None)
    else:
        stamps[path] = stamp


class RecentStore(Store):
    """A store as it was a moment ago. Documents that did not change are the same objects."""

    def __init__(self, exact: Store) -> None:
        self.files = self.recent = RecentFiles(exact.files)
        self._parsed: dict[tuple[str, type[Document]], tuple[bytes, Document]] = {}

    def get_document(self, name: str, kind: type[Kind]) -> Kind | None:
        path = f"documents/{name}.json"
        try:
            data = self.files.read(path)
        except FileNotFoundError:
            return None
        known = self._parsed.get((path, kind))
        if known is not None and known[0] is data:
            found = known[1]
            assert isinstance(found, kind)
            return found
        made = kind.from_bytes(data, where=f"{self.files.url}/{path}")
        self._parsed[(path, kind)] = (data, made)
        return made
