"""KID: the distance of two sets of embeddings (Binkowski et al. 2018), which has no bias at few pictures as FID has.

In the space of any vision model; in CLIP's it is near to what is called CMMD (Jayasumana et al. 2024).
"""

from collections.abc import Sequence

import numpy as np

from flenwheel_core.identity.embedding_math import as_vectors, unit


def kernel_distance(pictures: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> float | None:
    """The unbiased squared MMD under a cubic kernel of unit vectors; below 0 by chance where both are alike. None for fewer than two."""
    if len(pictures) < 2 or len(others) < 2:
        return None
    first, second = unit(as_vectors(pictures)), unit(as_vectors(others))
    within = [_mean_of_others((rows @ rows.T + 1) ** 3) for rows in (first, second)]
    between = float(((first @ second.T + 1) ** 3).mean())
    return within[0] + within[1] - 2 * between


def _mean_of_others(kernel: "np.typing.NDArray[np.float64]") -> float:
    count = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1)))
