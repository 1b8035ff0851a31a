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
WAITED_FOR = 3
"""Whoever finds a listing so many times as old as it should become, since nobody looked for a while, waits for the next one."""
OLDEST_SECONDS = 120.0
"""No listing is shown that is older, however long one takes; unless the store does not answer."""
AT_ONCE = 32
"""Files that are read ahead at a time: what a person waits for stands behind no more than these."""
MOST_BYTES = 256 * 2**20
"""Of contents that are remembered; those that were used longest ago go first."""

Kind = TypeVar("Kind", bound=Document)


@dataclass
class Listing:
    """The files of a folder, as of one moment. Several threads read it while another notes what was written."""

    stamps: dict[str, str]
    seconds: float
    """How long it took."""
    at: float
    """When it was made, or the store was last asked for another one in vain."""
    version: int
    """Another one where anything is different."""
    paths: list[str] = field(init=False)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.paths = sorted(self.stamps)

    def note(self, path: str, stamp: str | None) -> None:
        """A file that was written since, or deleted (None)."""
        with self.lock:
            if stamp is None and self.stamps.pop(path, None) is not None:
                self.paths.remove(path)
            elif stamp is not None:
                if path not in self.stamps:
                    insort(self.paths, path)
                self.stamps[path] = stamp
            self.version += 1

    def below(self, folder: str) -> list[str]:
        """The files of a folder in it, or of itself."""
        with self.lock:
            return self._below(folder)

    def stamped(self, folder: str) -> tuple[str, ...]:
        """The same, each with its stamp."""
        with self.lock:
            return tuple(f"{path} {self.stamps[path]}" for path in self._below(folder))

    def _below(self, folder: str) -> list[str]:
        return self.paths[bisect_left(self.paths, f"{folder}/") : bisect_left(self.paths, f"{folder}0")]

    @property
    def is_old(self) -> bool:
        """The next one is due."""
        return self._age > self._limit

    @property
    def is_too_old(self) -> bool:
        """Nobody looked for a while: what is in it may be of yesterday."""
        return self._age > WAITED_FOR * self._limit

    @property
    def _age(self) -> float:
        return time.monotonic() - self.at

    @property
    def _limit(self) -> float:
        return min(max(FRESH_SECONDS, self.seconds / SHARE_OF_TIME), OLDEST_SECONDS / WAITED_FOR)


@dataclass
class Content:
    """The bytes of a file, and what was made of them: both are forgotten together."""

    stamp: str
    data: bytes
    made: dict[type[Document], Document] = field(default_factory=dict)


class RecentFiles(Files):
    """Files of an object store. Only reading and listing are recent; all else is the store's own."""

    def __init__(self, exact: Files) -> None:
        self.__dict__.update(exact.__dict__)
        self._exact = exact
        self._lock = threading.RLock()
        self._listings: dict[str, Listing] = {}
        self._refreshing: set[str] = set()
        self._making = {folder: threading.Lock() for folder in FOLDERS}
        self._ahead = {folder: threading.Lock() for folder in FOLDERS}
        self._written: dict[str, str | None] = {}
        """What this process wrote (a stamp of its own) or deleted (None) while a listing was made."""
        self._contents: OrderedDict[str, Content] = OrderedDict()
        self._bytes = 0
        exact.watchers.append(self._note)

    def exists(self, path: str) -> bool:
        listing = self._listing(path)
        return self._exact.exists(path) if listing is None else path in listing.stamps

    def read(self, path: str) -> bytes:
        return self.content(path).data

    def content(self, path: str) -> Content:
        """What a file held; raises FileNotFoundError."""
        listing = self._listing(path)
        if listing is None:
            return Content("", self._exact.read(path))
        stamp = listing.stamps.get(path)
        if stamp is None:
            raise FileNotFoundError(path)
        return self._remembered(path, stamp) or self._remember(path, stamp, self._exact.read(path))

    def read_many(self, paths: Sequence[str]) -> list[bytes]:
        known = {path: self._known(path) for path in paths}
        missing = [path for path, data in known.items() if data is None]
        for path, data in zip(missing, self._exact.read_many(missing), strict=True):
            listing = self._listing(path)
            stamp = None if listing is None else listing.stamps.get(path)
            known[path] = Content("", data) if stamp is None else self._remember(path, stamp, data)
        return [content.data for content in known.values() if content is not None]

    def list(self, folder: str) -> Iterator[str]:
        listing = self._listing(folder)
        yield from self._exact.list(folder) if listing is None else listing.below(folder)

    def read_ahead(self, folder: str) -> None:
        """Reads what is in a folder and was not read yet, many files at once: one after the other would take as long as each answer."""
        with self._ahead[folder]:  # of several that need it at once, one reads
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
        return listing.stamped(folder)

    def _known(self, path: str) -> Content | None:
        listing = self._listing(path)
        stamp = None if listing is None else listing.stamps.get(path)
        return None if stamp is None else self._remembered(path, stamp)

    def _remembered(self, path: str, stamp: str) -> Content | None:
        with self._lock:
            known = self._contents.get(path)
            if known is None or known.stamp != stamp:
                return None
            self._contents.move_to_end(path)
            return known

    def _remember(self, path: str, stamp: str, data: bytes) -> Content:
        content = Content(stamp, data)
        with self._lock:
            old = self._contents.pop(path, None)
            self._contents[path] = content
            self._bytes += len(data) - (len(old.data) if old is not None else 0)
            while self._bytes > MOST_BYTES:
                self._bytes -= len(self._contents.popitem(last=False)[1].data)
        return content

    def _listing(self, path: str) -> Listing | None:
        """The listing that a path belongs to; None for one that belongs to none."""
        folder = next((one for one in FOLDERS if path == one or path.startswith(f"{one}/")), None)
        if folder is None:
            return None
        with self._lock:
            found = self._listings.get(folder)
            if found is not None and not found.is_too_old:
                if found.is_old and folder not in self._refreshing:
                    self._refreshing.add(folder)
                    threading.Thread(target=self._refresh_folder, args=(folder,), name="recent", daemon=True).start()
                return found
        return self._next(folder)

    def _next(self, folder: str) -> Listing:
        """A listing that is not too old; the old one if the store does not answer."""
        with self._making[folder]:  # of several that ask at once, one lists
            found = self._listings.get(folder)
            if found is not None and not found.is_too_old:
                return found
            try:
                return self._made(folder)
            except (FlenwheelError, OSError):
                if found is None:
                    raise
                found.at = time.monotonic()  # so that not everybody waits for a store that is away
                return found

    def _refresh_folder(self, folder: str) -> None:
        try:
            with self._making[folder]:
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


def _apply(stamps: dict[str, str], path: str, stamp: str | None) -> None:
    if stamp is None:
        stamps.pop(path, None)
    else:
        stamps[path] = stamp


class RecentStore(Store):
    """A store as it was a moment ago. Documents that did not change are the same objects."""

    def __init__(self, exact: Store) -> None:
        self.files = self.recent = RecentFiles(exact.files)

    def get_document(self, name: str, kind: type[Kind]) -> Kind | None:
        path = f"documents/{name}.json"
        try:
            content = self.recent.content(path)
        except FileNotFoundError:
            return None
        found = content.made.get(kind)
        if found is None:
            found = content.made[kind] = kind.from_bytes(content.data, where=f"{self.files.url}/{path}")
        assert isinstance(found, kind)
        return found
