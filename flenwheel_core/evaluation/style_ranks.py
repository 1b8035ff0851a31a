"""How often a picture is nearer to the style's paintings than to pictures of no such style, by descriptors such as CSD's.

A cosine of descriptors says little: for many artists those of one hand are no nearer to each other than to others' (arXiv 2605.09030).
So ranks are told, with hubs taken out (CSLS, Conneau et al. 2018): a painting that is near to everything counts for less. What the rank
of the style's own paintings is, measured alike, tells whether the descriptors know this style at all.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 10
KNOWN_FROM = 0.75
"""Descriptors that rank a style's own paintings lower than this do not know it: what they say of it means nothing."""
ITSELF = 1 - 1e-7
"""Vectors with this cosine are of one picture."""
Vectors = NDArray[np.float64]


def style_rank(pictures: Vectors, paintings: Vectors, others: Vectors, seen: Sequence[Vectors]) -> float:
    """The chance that one of the paintings is nearer to a picture than one of the others is: 0.5 knows no difference, 1 is always.

    Rows are unit vectors. `seen` are all pictures that are asked about, by which it is told what is near to everything.
    """
    asked = np.concatenate(list(seen))
    own, far = (_nearness(pictures, goal, asked) for goal in (paintings, others))
    wins = [
        (mine[:, None] > theirs[None]).mean() + 0.5 * (mine[:, None] == theirs[None]).mean()
        for mine, theirs in zip(own, far, strict=True)
    ]
    return float(np.mean(wins))


def _nearness(pictures: Vectors, goal: Vectors, asked: Vectors) -> Vectors:
    """(pictures, goal) twice the cosine, less how near each of `goal` is to those who ask, itself and its copies left out.

    One that asked for itself would be its own nearest, count for less, and shift every rank.
    """
    cosine, asking = pictures @ goal.T, goal @ asked.T
    asking[asking > ITSELF] = -1.0
    near = np.sort(asking, axis=1)[:, -NEIGHBOURS:].mean(1)
    return np.asarray(2 * cosine - near[None], np.float64)
