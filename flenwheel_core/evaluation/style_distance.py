"""How far pictures are from a style: the distance of two distributions, never of two pictures.

Each feature is compared by the Wasserstein distance of its values among the pictures and among held-out paintings, in standard deviations
of the latter; colours by the sliced Wasserstein distance in L*a*b* (Rabin et al. 2011). The mean of all is the style distance: 0 is the
style itself. Anchors measured alike tell what a number means: the bare base, photos, and the base with the style named in its prompt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from flenwheel_core.base.ids import derive_seed
from flenwheel_core.images.style_features import LEAST_SPREAD, NAMES, PALETTE_PIXELS, StyleFeatures

PALETTE = "palette"
_DIRECTIONS = 24
_REPEATS = 200
_QUANTILES = 101
_LEAST = 2
_MOST_COLOURS = 4096
"""Of all pictures together: more tell no more."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StyleDistance:
    """Distance of some pictures to a style, with what it is made of."""

    total: float
    low: float
    high: float
    """95 % interval: pictures drawn again from those measured."""
    parts: Mapping[str, float]
    """Each feature's distance and the palette's, in standard deviations of the reference."""


class Style:
    """Held-out paintings as distributions of features."""

    def __init__(self, paintings: Sequence[StyleFeatures]) -> None:
        _require_several(paintings)
        values = _values(paintings)
        colours = np.concatenate([one.palette @ _directions() for one in paintings])
        self._spread = np.maximum(values.std(0), LEAST_SPREAD)
        self._features = _quantiles(values)
        self._colour_spread = np.maximum(colours.std(0), 1.0)
        self._colours = _quantiles(colours)

    def distance(self, pictures: Sequence[StyleFeatures], *, seed: int = 0) -> StyleDistance:
        """The distance of several pictures, with its interval. Raises ValueError for fewer than two."""
        measured = self._measured(pictures)
        parts = self._parts(*measured)
        drawn = [self._total(measured, places) for places in _drawn(len(pictures), seed)]
        low, high = _interval(float(parts.mean()), drawn)
        return StyleDistance(float(parts.mean()), low, high, dict(zip((*NAMES, PALETTE), parts.tolist(), strict=True)))

    def gain(
        self, pictures: Sequence[StyleFeatures], against: Sequence[StyleFeatures], *, seed: int = 0
    ) -> tuple[float, float, float]:
        """By how much `pictures` are nearer than `against`, with its 95 % interval; drawn in pairs if both are as many."""
        ours, theirs = self._measured(pictures), self._measured(against)
        paired = len(pictures) == len(against)
        second = _drawn(len(against), seed if paired else seed + 1)
        pairs = zip(_drawn(len(pictures), seed), second, strict=True)
        drawn = [self._total(theirs, other) - self._total(ours, own) for own, other in pairs]
        gained = float(self._parts(*theirs).mean() - self._parts(*ours).mean())
        return (gained, *_interval(gained, drawn))

    def _measured(self, pictures: Sequence[StyleFeatures]) -> tuple[Floats, Floats]:
        """Features (pictures, features) and colours along the directions (pictures, pixels, directions)."""
        _require_several(pictures)
        step = -(-len(pictures) * PALETTE_PIXELS // _MOST_COLOURS)
        return _values(pictures), np.stack([one.palette[::step] @ _directions() for one in pictures])

    def _total(self, measured: tuple[Floats, Floats], places: NDArray[np.int64]) -> float:
        return float(self._parts(measured[0][places], measured[1][places]).mean())

    def _parts(self, values: Floats, colours: Floats) -> Floats:
        """Each feature's Wasserstein distance and the sliced one of all colours, in standard deviations of the paintings."""
        features = np.abs(_quantiles(values) - self._features).mean(0) / self._spread
        flat = _quantiles(colours.reshape(-1, colours.shape[-1]))
        palette = (np.abs(flat - self._colours).mean(0) / self._colour_spread).mean()
        return np.append(features, palette)


def _require_several(pictures: Sequence[StyleFeatures]) -> None:
    if len(pictures) < _LEAST:
        raise ValueError(f"a distribution needs at least {_LEAST} pictures")


def _values(pictures: Sequence[StyleFeatures]) -> Floats:
    return np.stack([one.values for one in pictures])


def _drawn(count: int, seed: int) -> list[NDArray[np.int64]]:
    chance = np.random.default_rng(derive_seed(seed, "style-bootstrap") % 2**63)
    return [chance.integers(0, count, count) for _ in range(_REPEATS)]


def _interval(value: float, drawn: Sequence[float]) -> tuple[float, float]:
    """95 % interval around the value. Pictures drawn again repeat, which makes every distance larger: what the draws are off by is taken
    from them."""
    low, high = np.quantile(drawn, (0.025, 0.975)) - np.mean(drawn)
    return value + float(low), value + float(high)


def knee(
    strengths: Sequence[float], style: Sequence[float], content: Sequence[float], *, least_loss: float = 0.02
) -> float:
    """The strength at which more style begins to cost more content than it is worth: a LoRA's default.

    `style` are distances (less is nearer), `content` shares kept. Both are scaled to what they change by over all strengths, a change of
    content below `least_loss` counts as none; the strength with the most gain over loss is taken, of equal ones the weaker.
    """
    near, kept = np.asarray(style, float), np.asarray(content, float)
    gained = (near.max() - near) / max(float(near.max() - near.min()), 1e-9)
    lost = (kept.max() - kept) / max(float(kept.max() - kept.min()), least_loss)
    worth = np.round(gained - lost, 9)
    best = min(range(len(strengths)), key=lambda place: (-worth[place], strengths[place]))
    return float(strengths[best])


def default_strength(
    strengths: Sequence[float], style: Sequence[float], content: Sequence[float], *, base: float | None, margin: float
) -> float:
    """The strength that a LoRA is used at if nobody names another: the nearest to the style of those that keep the content.

    Content is kept where it is at most `margin` below that of the bare base's pictures (`base`). Where no strength keeps it, or nobody
    knows what the base shows, it is the knee.
    """
    kept = [place for place, one in enumerate(content) if base is not None and one >= base - margin - 1e-9]
    if not kept:
        return knee(strengths, style, content)
    return float(strengths[min(kept, key=lambda place: (style[place], strengths[place]))])


def _quantiles(values: Floats) -> Floats:
    """The inverse distribution of each column, (_QUANTILES, columns): their mean distance is the Wasserstein distance."""
    ordered = np.sort(values, axis=0)
    places = np.linspace(0, len(ordered) - 1, _QUANTILES)
    below = places.astype(int)
    share = (places - below)[:, None]
    above = np.minimum(below + 1, len(ordered) - 1)
    return np.asarray(ordered[below] * (1 - share) + ordered[above] * share, np.float64)


@cache
def _directions() -> NDArray[np.float32]:
    """(3, _DIRECTIONS) unit vectors, evenly spread over the half sphere (Fibonacci lattice)."""
    index = np.arange(_DIRECTIONS) + 0.5
    height, turn = index / _DIRECTIONS, np.pi * (1 + 5**0.5) * index
    flat = np.sqrt(1 - height**2)
    return np.asarray(np.stack([height, flat * np.cos(turn), flat * np.sin(turn)]), np.float32)
