"""Distances between identity embeddings, and the centroid of a set of them."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Distance = Literal["euclidean", "cosine"]
Vectors = NDArray[np.float64]


def as_vectors(embeddings: Sequence[Sequence[float]]) -> Vectors:
    """The embeddings as an array (count, dimensions)."""
    return np.asarray(embeddings, dtype=np.float64).reshape(len(embeddings), -1)


def unit(vectors: Vectors) -> Vectors:
    """Rows (or the one vector) scaled to length 1; zero stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths))


def centroid_of(vectors: Vectors, distance: Distance) -> Vectors:
    """The mean of the rows; for cosine distance the mean of their directions, scaled to length 1."""
    if distance == "cosine":
        return unit(unit(vectors).mean(axis=0))
    return np.asarray(vectors.mean(axis=0))


def distances_to(vectors: Vectors, point: Vectors, distance: Distance) -> Vectors:
    """The distance of each row to `point`: (count,)."""
    if distance == "cosine":
        return 1.0 - unit(vectors) @ unit(point)
    return np.asarray(np.linalg.norm(vectors - point, axis=-1))


def cosines_to(vectors: Vectors, point: Vectors) -> Vectors:
    """The cosine of each row and `point`: (count,)."""
    return np.asarray(unit(vectors) @ unit(point))
