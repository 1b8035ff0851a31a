"""The filters of a set of paintings: each painting passes, or has the one reason for which it was left out."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Protocol, TypeVar

from flenwheel_core.datasets.choices import FilterName, PaintingChoices
from flenwheel_core.datasets.looks import Look, is_one_colour
from flenwheel_core.datasets.paintings import UNKNOWN, Painting, plain_label, years_of_death
from flenwheel_core.images.duplicates import CopyFinder

Reason = tuple[FilterName, str]


class Labelled(Protocol):
    """What balance is made of."""

    @property
    def key(self) -> str: ...
    @property
    def artist(self) -> str: ...
    @property
    def genre(self) -> str: ...


Chosen = TypeVar("Chosen", bound=Labelled)


class LabelFilters:
    """What labels alone decide: no picture is read."""

    def __init__(self, choices: PaintingChoices) -> None:
        self._choices = choices
        self._style = plain_label(choices.style) if choices.style is not None else None
        self._artists = frozenset(map(plain_label, choices.artists))
        self._left_out = frozenset(map(plain_label, choices.genres_left_out))
        self._died = {**years_of_death(), **{plain_label(name): year for name, year in choices.died.items()}}

    def reason(self, painting: Painting) -> Reason | None:
        if self._style is not None and painting.style != self._style:
            return "style", painting.style
        if self._artists and painting.artist not in self._artists:
            return "artist", painting.artist
        if (last := self._choices.died_by) is not None:
            died = self._died.get(painting.artist)
            if painting.artist == UNKNOWN or died is None:
                return "rights", f"{painting.artist}: year of death unknown"
            if died > last:
                return "rights", f"{painting.artist} died in {died}"
        if painting.genre in self._left_out:
            return "genre", painting.genre
        return None


class PictureFilters:
    """What the pictures decide, one after the other: a further scan of a painting is left out, so the order counts."""

    def __init__(self, choices: PaintingChoices) -> None:
        self._choices = choices
        self._finder = CopyFinder(choices.duplicate_bits)
        self._keys: list[str] = []

    def reason(self, key: str, seen: Look | str) -> Reason | None:
        if isinstance(seen, str):
            return "damaged", seen
        choices, (width, height) = self._choices, seen.size
        if min(width, height) < choices.minimum_side_px:
            return "size", f"{width}x{height}"
        if max(width, height) > choices.maximum_aspect * min(width, height):
            return "aspect", f"{width}x{height}"
        if is_one_colour(seen, choices.minimum_saturation):
            return "monochrome", f"saturation {seen.saturation:.3f}, hue spread {seen.hue_spread:.1f}"
        if seen.frame > choices.maximum_frame:
            return "frame", f"{seen.frame:.1%} of the side"
        match = self._finder.find(seen.measures)
        if match is not None:
            return "duplicate", self._keys[match.index]
        self._finder.add(seen.measures)
        self._keys.append(key)
        return None


def beyond_artist_limit(paintings: Sequence[Labelled], choices: PaintingChoices) -> dict[str, Reason]:
    """The paintings that are too many of their artist, by key; which ones follows from the seed."""
    reasons: dict[str, Reason] = {}
    count: Counter[str] = Counter()
    for painting in shuffled(paintings, choices.seed):
        count[painting.artist] += 1
        if count[painting.artist] > choices.per_artist:
            reasons[painting.key] = ("artist_limit", f"more than {choices.per_artist} of {painting.artist}")
    return reasons


def beyond_genre_share(paintings: Sequence[Labelled], choices: PaintingChoices) -> dict[str, Reason]:
    """The paintings that are too many of their genre, by key. One genre alone stays as it is."""
    groups: dict[str, list[Labelled]] = defaultdict(list)
    for painting in shuffled(paintings, choices.seed):
        groups[painting.genre].append(painting)
    kept = {genre: len(group) for genre, group in groups.items()}
    share = max(choices.genre_share, 1 / max(len(kept), 1))
    while len(kept) > 1 and share < 1:
        largest = max(kept, key=lambda genre: (kept[genre], genre))
        allowed = int(share / (1 - share) * (sum(kept.values()) - kept[largest]))
        if kept[largest] <= max(allowed, 1):
            break
        kept[largest] = max(allowed, 1)
    return {
        painting.key: ("genre_balance", f"more than {share:.0%} would be {genre}")
        for genre, group in groups.items()
        for painting in group[kept[genre] :]
    }


def shuffled(paintings: Sequence[Chosen], seed: int) -> list[Chosen]:
    """In an order that depends on the seed and the keys only, so that further paintings do not change it for these."""
    return sorted(paintings, key=lambda painting: order_of(painting.key, seed))


def order_of(key: str, seed: int) -> str:
    """Where a key stands in the order of a seed."""
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()
