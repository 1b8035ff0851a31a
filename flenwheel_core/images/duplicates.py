"""Near-identical pictures: found by perceptual hash, confirmed by comparing small copies place by place.

A perceptual hash alone calls an edit that only changed the expression a copy of its source. Compression, scaling, blur and tone
change a picture everywhere a little; an edit changes one place much more than the rest. So near hashes count as a copy only
if the difference is spread out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flenwheel_core.images.quality import THUMBNAIL_PX, Measures

BLOCK_PX = 4
"""Thumbnails of 32x32 are compared in 8x8 blocks of this many pixels."""
SAME_BELOW = 2.5
"""Blocks that differ by less (0-255) are the same."""
DIFFERENT_ABOVE = 16.0
"""A block that differs by more is another picture, however evenly the difference is spread (copies: up to 12)."""
CONCENTRATED_ABOVE = 9.0
"""Largest block difference over the median one: copies measure up to 7, changed expressions 12 to 50 (nano renders)."""
CHUNK = 512


@dataclass(frozen=True)
class Match:
    """The nearest known copy of a picture."""

    index: int
    bits: int
    mirrored: bool
    difference: float


@dataclass(frozen=True)
class Difference:
    """How two thumbnails differ after matching brightness and contrast."""

    largest: float
    """Mean difference (0-255) of the block that differs most."""
    concentration: float
    """The same over the median block's difference: high when one place was edited."""

    @property
    def is_copy(self) -> bool:
        spread_out = self.concentration < CONCENTRATED_ABOVE and self.largest < DIFFERENT_ABOVE
        return self.largest < SAME_BELOW or spread_out


def difference_of(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Difference:
    """The difference of two (32, 32, 3) thumbnails."""
    one = first.astype(np.float64) - first.mean(axis=(0, 1))
    other = second.astype(np.float64) - second.mean(axis=(0, 1))
    gain = float((one * other).sum() / max(float((other * other).sum()), 1.0))
    gap = np.abs(one - float(np.clip(gain, 0.5, 2.0)) * other)
    count = THUMBNAIL_PX // BLOCK_PX
    blocks = gap.reshape(count, BLOCK_PX, count, BLOCK_PX, 3).mean(axis=(1, 3, 4))
    largest = float(blocks.max())
    return Difference(largest, largest / max(float(np.median(blocks)), 0.3))


class CopyFinder:
    """A growing set of pictures that answers which of them a new one copies. Memory: 3 KiB a picture."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._hashes: list[int] = []
        self._packed = np.zeros(0, dtype=np.uint64)
        self._thumbnails: list[NDArray[np.uint8]] = []

    def add(self, measures: Measures) -> int:
        """Adds a picture; returns its index."""
        self._hashes.append(measures.phash)
        self._thumbnails.append(measures.thumbnail)
        return len(self._hashes) - 1

    def find(self, measures: Measures) -> Match | None:
        """The picture that `measures` copies most closely, mirrored copies included, or None."""
        if len(self._packed) != len(self._hashes):
            self._packed = np.asarray(self._hashes, dtype=np.uint64)
        best: Match | None = None
        for mirrored, own in ((False, measures.phash), (True, measures.phash_mirrored)):
            bits = np.bitwise_count(self._packed ^ np.uint64(own)).astype(np.int64)
            thumbnail = measures.thumbnail[:, ::-1] if mirrored else measures.thumbnail
            for index in np.flatnonzero(bits <= self._bits):
                difference = difference_of(thumbnail, self._thumbnails[index])
                if difference.is_copy and (best is None or difference.largest < best.difference):
                    best = Match(int(index), int(bits[index]), mirrored, round(difference.largest, 3))
        return best


def embedding_copies(vectors: NDArray[np.floating[Any]], similarity: float) -> list[int | None]:
    """For each row the first earlier row with a cosine of at least `similarity`, or None. Memory stays at CHUNK rows."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = np.asarray(vectors / np.where(lengths == 0, 1, lengths), dtype=np.float32)
    found: list[int | None] = []
    for start in range(0, len(rows), CHUNK):
        cosines = rows[start : start + CHUNK] @ rows[: start + CHUNK].T
        for offset, row in enumerate(cosines):
            earlier = np.flatnonzero(row[: start + offset] >= similarity)
            found.append(int(earlier[0]) if len(earlier) else None)
    return found
