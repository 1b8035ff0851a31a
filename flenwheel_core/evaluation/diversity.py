"""Diversity of a set of pictures: how many really different ones it holds.

Identity embeddings are made to ignore everything but identity, so they cannot tell a rich set from one picture shown twenty
times. Diversity is therefore measured on the pictures themselves.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flenwheel_core.images.quality import THUMBNAIL_PX

KERNEL_WIDTH = 0.04
"""Pictures whose small copies differ by this much (root mean square, 0 to 1) count as about half different.

Chosen on rendered characters (benchmarks/results/diversity_kernel.json): at this width a LoRA that always draws one view loses a fifth of
its diversity and more, one that learns which clothes are the character's a twentieth at most. A wider kernel counts themes, not pictures,
and takes the second for a loss; a narrower one sees only exact copies.
"""


def vendi_score(kernel: NDArray[np.float64]) -> float:
    """The effective number of different items: exp of the entropy of the eigenvalues of `kernel` / n.

    `kernel` (n, n) is positive semi-definite with ones on its diagonal. Friedman and Dieng, The Vendi Score (2023).
    """
    count = len(kernel)
    if count == 0:
        return 0.0
    eigenvalues = np.linalg.eigvalsh(kernel / count)
    positive = eigenvalues[eigenvalues > 1e-12]
    return float(np.exp(-(positive * np.log(positive)).sum()))


def picture_kernel(thumbnails: Sequence[NDArray[np.uint8]], *, width: float = KERNEL_WIDTH) -> NDArray[np.float64]:
    """Gaussian similarity (n, n) of (32, 32, 3) thumbnails."""
    rows = np.stack([thumbnail.reshape(-1) for thumbnail in thumbnails]).astype(np.float64) / 255
    squares = (rows**2).sum(axis=1)
    gaps = np.maximum(squares[:, None] + squares[None, :] - 2 * rows @ rows.T, 0) / (THUMBNAIL_PX**2 * 3)
    kernel = np.exp(-gaps / (2 * width**2))
    np.fill_diagonal(kernel, 1.0)
    return np.asarray(kernel)


def diversity(thumbnails: Sequence[NDArray[np.uint8]]) -> float:
    """The Vendi score of pictures: between 1 (all alike) and their number (all different)."""
    return vendi_score(picture_kernel(thumbnails)) if thumbnails else 0.0
