"""Studies of styles: several ways of drawing side by side, and what people said of blind pairs."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import InputError, NotFoundError
from flenwheel_core.base.ids import Digest, derive_seed
from flenwheel_core.base.statistics import Interval, wilson
from flenwheel_core.requests.style_study import StyleStudyRequest, StyleStudyResult
from flenwheel_core.store import Journal, Store

Choice = Literal["first", "second", "neither"]


class StudyMade(Document):
    """A line about a study that was finished."""

    at: AwareDatetime
    name: str
    request: Digest
    """Key of the stage's request."""


class PhotosKept(Document):
    """A line about the photographs that a style's studies are measured beside."""

    at: AwareDatetime
    images: Digest | None
    """Image set; None: there are none any more."""


class BlindPair(Document):
    """Two pictures of one scene and seed, drawn in two ways. Which is which stands in the study, not here."""

    id: str = Field(description="stays the same for the same two pictures")
    scene: str
    first: Digest
    second: Digest


class PairVerdict(Document):
    """What somebody said of a pair."""

    at: AwareDatetime
    author: str
    pair: str
    first: Digest
    second: Digest
    choice: Choice | None = Field(description="None takes the author's last verdict on it back")


class WayWins(Document):
    """How often one way was preferred to others."""

    way: str
    against: str
    won: int
    lost: int
    neither: int

    @property
    def rate(self) -> Interval:
        """Of pairs that were decided, with a 95 % interval."""
        return wilson(self.won, self.won + self.lost)


class Studies:
    """Reads and appends to the studies of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, character: str, name: str, request: StyleStudyRequest) -> None:
        """Makes a finished study known; a second time changes nothing."""
        if all(line.request != request.key() for line in self.of(character)):
            self._journal(character).append(StudyMade(at=datetime.now(UTC), name=name, request=request.key()))

    def of(self, character: str) -> list[StudyMade]:
        """The studies of a style, oldest first."""
        return list(self._journal(character).read())

    def result(self, request: Digest) -> tuple[StyleStudyRequest, StyleStudyResult]:
        """A study; raises NotFoundError."""
        asked = self._store.get_request(StyleStudyRequest, request)
        found = None if asked is None else self._store.get_result(asked, StyleStudyResult)
        if asked is None or found is None:
            raise NotFoundError(f"There is no study {request[:12]}.")
        return asked, found

    def keep_photos(self, character: str, images: Digest | None) -> None:
        """Keeps the image set of a style's photographs, None for none; the newest counts. They may change: nothing is trained on them."""
        if self.photos(character) != images:
            self._photos(character).append(PhotosKept(at=datetime.now(UTC), images=images))

    def photos(self, character: str) -> Digest | None:
        """The image set of a style's photographs; None if it has none."""
        lines = list(self._photos(character).read())
        return lines[-1].images if lines else None

    def pairs(self, request: Digest, ways: Sequence[str] = ()) -> tuple[BlindPair, ...]:
        """All pairs of the chosen ways (of all, if none is named), shuffled: the same at every call."""
        asked, found = self.result(request)
        known = {one.way.name: self._pictures(one.images) for one in found.ways}
        names = [name for name in known if not ways or name in ways]
        if len(names) < 2:
            raise InputError("A comparison needs two ways of drawing.", remedy="Choose two or more.")
        made = []
        for place, scene in enumerate(asked.scenes):
            for index, one in enumerate(names):
                for other in names[index + 1 :]:
                    two = [known[one][place], known[other][place]]
                    chance = random.Random(derive_seed(0, "blind", *sorted(two)))  # noqa: S311
                    chance.shuffle(two)
                    made.append((chance.random(), self._pair(scene.prompt, two[0], two[1])))
        return tuple(pair for _, pair in sorted(made, key=lambda item: item[0]))

    def judge(self, request: Digest, verdict: PairVerdict) -> None:
        """Keeps a verdict. Raises InputError for two pictures that the study does not pair."""
        _, found = self.result(request)
        places: dict[str, set[int]] = {}
        for one in found.ways:
            for place, digest in enumerate(self._pictures(one.images)):
                places.setdefault(digest, set()).add(place)
        if verdict.first == verdict.second or not places.get(verdict.first, set()) & places.get(verdict.second, set()):
            raise InputError("These two pictures are no pair of this study.", remedy="Load the page again.")
        self._verdicts(request).append(verdict)

    def standing(self, request: Digest) -> list[PairVerdict]:
        """The last verdict of each author on each pair; what was taken back is left out."""
        last = {(line.author, line.pair): line for line in self._verdicts(request).read()}
        return [line for line in last.values() if line.choice is not None]

    def wins(self, request: Digest) -> tuple[WayWins, ...]:
        """How often each way was preferred to each other one, of the pairs that were judged."""
        _, found = self.result(request)
        way_of: dict[str, set[str]] = {}
        for one in found.ways:
            for digest in self._pictures(one.images):
                way_of.setdefault(digest, set()).add(one.way.name)
        order = [one.way.name for one in found.ways]
        counts: dict[tuple[str, str], list[int]] = {}
        for line in self.standing(request):
            for first in way_of.get(line.first, ()):
                for second in way_of.get(line.second, ()):
                    if first == second:
                        continue
                    swapped = order.index(first) > order.index(second)
                    pair = (second, first) if swapped else (first, second)
                    column = 2 if line.choice == "neither" else int((line.choice == "second") != swapped)
                    counts.setdefault(pair, [0, 0, 0])[column] += 1
        return tuple(
            WayWins(way=way, against=against, won=won, lost=lost, neither=neither)
            for (way, against), (won, lost, neither) in counts.items()
        )

    @staticmethod
    def _pair(scene: str, first: Digest, second: Digest) -> BlindPair:
        return BlindPair(
            id=f"{min(first, second)[:16]}{max(first, second)[:16]}", scene=scene, first=first, second=second
        )

    def _pictures(self, images: Digest) -> list[Digest]:
        return [record.digest for record in self._store.get_images(images)]

    def _journal(self, character: str) -> Journal[StudyMade]:
        return self._store.journal(f"characters/{character}/studies", StudyMade)

    def _photos(self, character: str) -> Journal[PhotosKept]:
        return self._store.journal(f"characters/{character}/photos", PhotosKept)

    def _verdicts(self, request: Digest) -> Journal[PairVerdict]:
        return self._store.journal(f"studies/{request}/verdicts", PairVerdict)
