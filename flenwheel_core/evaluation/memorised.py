"""Does a LoRA repeat its training paintings? The nearest one of each sample, and whether the sample is a copy of it.

Nearest by a perceptual hash, which is made to find copies: whole ones, scaled, mirrored or toned. A part of a painting that is repeated is
not found, and of pictures that have nothing in common the hash says nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flenwheel_core.images.duplicates import difference_of
from flenwheel_core.images.quality import Measures

COPY_BITS = 8
"""Bits of the perceptual hash up to which a sample may be a copy, as for scans of one painting."""

TELLING_BITS = 20
"""Bits beyond which the nearest painting is near by chance: two pictures without anything in common differ by 32 +- 4."""


@dataclass(frozen=True)
class Nearest:
    """The training painting that a sample is most like."""

    index: int
    bits: int
    """By which their perceptual hashes differ, of 64; about 32 for pictures that have nothing in common."""
    mirrored: bool
    copied: bool


def how_near(bits: int, *, mirrored: bool) -> str:
    """What the hash says of a picture and its nearest painting, for people."""
    apart = f"{bits} of 64 bits apart{', mirrored' if mirrored else ''}"
    return apart if bits <= TELLING_BITS else f"{apart}, as by chance: the hash finds nothing alike"


def nearest_paintings(samples: Sequence[Measures], paintings: Sequence[Measures]) -> tuple[Nearest, ...]:
    """For each sample the nearest training painting, mirrored ones too. Raises ValueError without paintings."""
    if not paintings:
        raise ValueError("there is no training painting")
    hashes = np.asarray([painting.phash for painting in paintings], dtype=np.uint64)
    found = []
    for sample in samples:
        bits = np.stack([np.bitwise_count(hashes ^ np.uint64(own)) for own in (sample.phash, sample.phash_mirrored)])
        mirrored, index = (int(place) for place in np.unravel_index(int(bits.argmin()), bits.shape))
        thumbnail = sample.thumbnail[:, ::-1] if mirrored else sample.thumbnail
        near = int(bits[mirrored, index])
        copied = near <= COPY_BITS and difference_of(thumbnail, paintings[index].thumbnail).is_copy
        found.append(Nearest(index, near, bool(mirrored), copied))
    return tuple(found)
