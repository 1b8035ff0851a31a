"""From a source to a set: every painting with the reason it was left out, or with the part of the set it belongs to."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.datasets.choices import FILTERS, FilterName, PaintingChoices
from flenwheel_core.datasets.filters import (
    LabelFilters,
    PictureFilters,
    Reason,
    beyond_artist_limit,
    beyond_genre_share,
    order_of,
    shuffled,
)
from flenwheel_core.datasets.looks import Look, look
from flenwheel_core.datasets.paintings import UNKNOWN, PaintingSource
from flenwheel_core.images.decoders import shared_decoders

Part = Literal["train", "held_out_painting", "held_out_artist"]
_AHEAD = 3
"""Files that wait for each picture that is being looked at: all that is held of them in memory."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """A painting of the source, sorted in or out."""

    key: str
    artist: str
    genre: str
    style: str
    caption: str | None
    filter: FilterName | None = None
    """What left it out."""
    reason: str = ""
    part: Part | None = None
    file: str | None = None
    """sha256 of the file, once it was read."""
    width: int | None = None
    height: int | None = None
    saturation: float | None = None

    def without(self, reason: Reason) -> "Sorted":
        return replace(self, filter=reason[0], reason=reason[1], part=None)


@dataclass(frozen=True)
class Selection:
    """All paintings of a source in its order."""

    paintings: tuple[Sorted, ...]

    @property
    def chosen(self) -> tuple[Sorted, ...]:
        return tuple(painting for painting in self.paintings if painting.part is not None)

    def counts(self) -> list[tuple[FilterName, int, int]]:
        """Each filter in its order, with how many it left out and how many were left after it."""
        found, left, rows = Counter(painting.filter for painting in self.paintings), len(self.paintings), []
        for name in FILTERS:
            left -= found[name]
            rows.append((name, found[name], left))
        return rows


def select(
    source: PaintingSource,
    choices: PaintingChoices,
    *,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Selection:
    """Filters the paintings of a source and splits what is left. Only pictures that their labels let through are read, each once.

    `progress` is told how many pictures were looked at, of how many. The same source and choices give the same selection.
    """
    found = by_labels(source, choices)
    waiting = [painting.key for painting in found.values() if painting.filter is None]
    filters = PictureFilters(choices)
    for done, (key, digest, seen) in enumerate(_looks(source, waiting), 1):
        found[key] = _looked_at(found[key], digest, seen, filters.reason(key, seen))
        progress(done, len(waiting))
    for limit in (beyond_artist_limit, beyond_genre_share):
        left = [painting for painting in found.values() if painting.filter is None]
        for key, reason in limit(left, choices).items():
            found[key] = found[key].without(reason)
    parts = split([painting for painting in found.values() if painting.filter is None], choices)
    return Selection(tuple(replace(painting, part=parts.get(key)) for key, painting in found.items()))


def by_labels(source: PaintingSource, choices: PaintingChoices) -> dict[str, Sorted]:
    """What labels alone decide, by key in the source's order."""
    filters, found = LabelFilters(choices), {}
    for painting in source.paintings():
        sorted_ = Sorted(painting.key, painting.artist, painting.genre, painting.style, painting.caption)
        reason = filters.reason(painting)
        found[painting.key] = sorted_ if reason is None else sorted_.without(reason)
    return found


def split(paintings: Sequence[Sorted], choices: PaintingChoices) -> dict[str, Part]:
    """The part of each painting, by key: whole artists held out first, then paintings of the others.

    Held-out artists tell whether a style was learned, held-out paintings whether painters were. Who paints under no name is never a
    held-out artist.
    """
    artists = sorted(
        {painting.artist for painting in paintings if painting.artist != UNKNOWN},
        key=lambda artist: order_of(artist, choices.seed),
    )
    number = (
        max(1, round(choices.held_out_artists * len(artists))) if choices.held_out_artists and len(artists) > 2 else 0
    )
    away = frozenset(artists[:number])
    others = shuffled([painting for painting in paintings if painting.artist not in away], choices.seed + 1)
    held = {painting.key for painting in others[: round(choices.held_out_paintings * len(others))]}

    def part(painting: Sorted) -> Part:
        if painting.artist in away:
            return "held_out_artist"
        return "held_out_painting" if painting.key in held else "train"

    return {painting.key: part(painting) for painting in paintings}


def _looked_at(painting: Sorted, digest: str, seen: Look | str, reason: Reason | None) -> Sorted:
    painting = replace(painting, file=digest)
    if isinstance(seen, Look):
        painting = replace(painting, width=seen.size[0], height=seen.size[1], saturation=seen.saturation)
    return painting if reason is None else painting.without(reason)


def _looks(source: PaintingSource, keys: Sequence[str]) -> Iterator[tuple[str, str, Look | str]]:
    """Key, digest of the file, and look of each picture in the source's order; a few are decoded ahead."""
    ahead: deque[tuple[str, Future[tuple[str, Look | str]]]] = deque()
    at_once = shared_decoders().count  # each thread waits for its decoder, or looks at what it gave
    with ThreadPoolExecutor(at_once) as threads:
        for key, data in source.pictures(keys):
            ahead.append((key, threads.submit(_look, data, key)))
            if len(ahead) > _AHEAD * at_once:
                yield _taken(ahead)
        while ahead:
            yield _taken(ahead)


def _look(data: bytes, key: str) -> tuple[str, Look | str]:
    return digest_bytes(data), look(data, key)


def _taken(ahead: "deque[tuple[str, Future[tuple[str, Look | str]]]]") -> tuple[str, str, Look | str]:
    key, waiting = ahead.popleft()
    return key, *waiting.result()
