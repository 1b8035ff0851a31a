"""What pages show that list many things: gates, characters, turns, a page at a time.

On an object store they are as they were a moment ago (`store/recent.py`); in a folder they are as they are. Whatever is decided or written
goes by the store itself.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from flenwheel_core.base.errors import CorruptManifestError, NotFoundError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.gates.fold import GateState
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.library.characters import Library
from flenwheel_core.records.turns import TurnDetail, Turns, TurnView
from flenwheel_core.store import Store
from flenwheel_core.store.recent import FOLDERS, RecentStore

MOST_KEPT = 512
"""Lists and lines that are remembered: whoever asks makes up characters, offsets and limits."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class Part(Generic[Found]):
    """Some of many."""

    shown: list[Found]
    offset: int
    total: int


@dataclass(frozen=True)
class PartOfGates(Part["GateLine"]):
    """Some of many gates."""

    waiting: int
    """How many of all of them are open."""


@dataclass(frozen=True)
class GateLine:
    """A gate in a list."""

    session: ReviewSession
    closed: ClosedGate | None
    total: int
    state: GateState
    """How its decisions stand; empty for a gate that was answered."""


@dataclass
class Kept:
    """What was built, and of what."""

    as_of: Hashable = None
    made: object = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Of several that need it at once, one builds."""


class Overview:
    """The lists of a workspace."""

    def __init__(self, store: Store, settings: Settings) -> None:
        recent = None if store.files.local is not None else RecentStore(store)
        self.store = recent or store
        self._recent = recent
        self.reviews = Reviews(self.store)
        self.library = Library(self.store)
        self.each_turn = Turns(self.store, settings, self.reviews, None if recent is None else self._kept_while)
        self._exact_library = Library(store)
        self._exact_turns = Turns(store, settings, Reviews(store))
        self._totals: dict[str, int] = {}
        self._states: dict[str, tuple[int, GateState]] = {}
        self._answered: dict[str, tuple[ReviewSession, ClosedGate]] = {}
        """Gates that were answered; nothing about them changes."""
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._keeping = threading.Lock()
        self._lock = threading.Lock()

    def warm(self) -> None:
        """Reads ahead what all lists need."""
        self.gates(limit=1)
        self.turns(limit=1)

    def gates(self, character: str | None = None, *, offset: int = 0, limit: int | None = None) -> PartOfGates:
        """Gates, open ones first, the newest turn first."""
        names, waiting = self._kept_while(("gates", character), ("documents/reviews",), lambda: self._names(character))
        shown = names[offset:] if limit is None else names[offset : offset + limit]
        return PartOfGates([self._line(name) for name in shown], offset, len(names), waiting)

    def characters(self, *, offset: int = 0, limit: int | None = None) -> Part[str]:
        """Names of characters."""
        folders = ("documents/characters", "journals/characters")
        names = self._kept_while("characters", folders, self.library.characters)
        return Part(names[offset:] if limit is None else names[offset : offset + limit], offset, len(names))

    def library_of(self, name: str) -> Library:
        """Where to read about a character: the store itself, if another machine made it since the listing."""
        return self._exact_library if self.library.find(name) is None else self.library

    def turn(self, character: str, number: int) -> TurnDetail:
        """One turn, also one that another machine began since the listing; raises NotFoundError."""
        try:
            return self.each_turn.get(character, number)
        except NotFoundError:
            return self._exact_turns.get(character, number)

    def of_character(self, name: str, what: str, build: Callable[[], Found]) -> Found:
        """What was built of a character's own files, until one of them changes."""
        if self._recent is None:
            return build()
        files = self._recent.recent
        folders = (f"documents/characters/{name}", f"journals/characters/{name}")
        return self._kept_for((what, name), lambda: tuple(files.stamped(folder) for folder in folders), build)

    def turns(self, *, offset: int = 0, limit: int | None = None) -> Part[TurnView]:
        """Turns of all characters, the newest first."""
        folders = tuple(folder for folder in FOLDERS if folder != "journals/reviews")
        views, total = self._kept_while(
            ("turns", offset, limit), folders, lambda: self.each_turn.newest(offset=offset, limit=limit)
        )
        return Part(views, offset, total)

    def _names(self, character: str | None) -> tuple[list[str], int]:
        """The gates in order, and how many are open."""
        found = [self._gate(name) for name in self.reviews.gates()]
        wanted = [(gate, closed) for gate, closed in found if character is None or gate.character == character]
        wanted.sort(key=lambda one: (one[1] is not None, -one[0].turn, one[0].gate))
        return [gate.gate for gate, _ in wanted], sum(closed is None for _, closed in wanted)

    def _gate(self, name: str) -> tuple[ReviewSession, ClosedGate | None]:
        if name in self._answered:
            return self._answered[name]
        session, closed = self.reviews.get(name), self.reviews.closed(name)
        if closed is not None:
            self._answered[name] = (session, closed)
        return session, closed

    def _line(self, name: str) -> GateLine:
        session, closed = self._gate(name)
        return GateLine(session, closed, self._total(session), GateState() if closed is not None else self._state(name))

    def _total(self, session: ReviewSession) -> int:
        if session.pictures is not None:
            return session.pictures
        if session.images not in self._totals:  # of an earlier version, which did not write it down
            self._totals[session.images] = len(self.store.get_images(session.images))
        return self._totals[session.images]

    def _state(self, name: str) -> GateState:
        """The fold of a gate's journal, as far as it was not folded before."""
        with self._lock:
            position, state = self._states.get(name, (0, GateState()))
            try:
                lines, now = self.reviews.journal(name).read_after(position)
            except CorruptManifestError:  # a write that failed was taken back
                state = GateState()
                lines, now = self.reviews.journal(name).read_after(0)
            for line in lines:
                state.add(line)
            if now:
                self._states[name] = (now, state)
            return state

    def _kept_while(self, key: Hashable, folders: tuple[str, ...], build: Callable[[], Found]) -> Found:
        """What was built before, if nothing in these folders has changed since. In a folder of this machine everything is built anew."""
        if self._recent is None:
            return build()
        files = self._recent.recent

        def read_and_build() -> Found:
            for folder in folders:
                if folder.startswith("documents/"):
                    files.read_ahead(folder)
            return build()

        return self._kept_for(key, lambda: tuple(files.version(folder) for folder in folders), read_and_build)

    def _kept_for(self, key: Hashable, as_of: Callable[[], Hashable], build: Callable[[], Found]) -> Found:
        with self._keeping:
            kept = self._kept.setdefault(key, Kept())
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        with kept.lock:
            now = as_of()
            if kept.as_of != now:
                kept.made = build()
                kept.as_of = now
            return kept.made  # type: ignore[return-value] # what `build` gave for this key
