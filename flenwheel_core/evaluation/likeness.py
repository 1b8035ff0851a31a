"""Likeness to real pictures that were never trained on: the fingerprint's own pictures are learned by heart, these are not."""

from collections.abc import Sequence

import numpy as np

from flenwheel_core.documents.scores import LikenessScore
from flenwheel_core.identity.embedding_math import as_vectors, centroid_of, cosines_to
from flenwheel_core.identity.fingerprint import leave_one_out_distances
from flenwheel_core.identity.protocols import Embedded


def likeness_score(drawn: Sequence[Embedded], real: Sequence[Embedded]) -> LikenessScore | None:
    """How near drawn pictures lie to the centre of real ones, beside how near those lie to each other; None without either."""
    photos, pictures = ([one.embedding for one in side if one.embedding is not None] for side in (real, drawn))
    if not photos or not pictures:
        return None
    vectors = as_vectors(photos)
    near = cosines_to(as_vectors(pictures), centroid_of(vectors, "cosine"))
    among = 1 - leave_one_out_distances(vectors, "cosine") if len(photos) > 1 else None
    return LikenessScore(
        photos=len(photos),
        drawn=round(float(near.mean()), 5),
        real=None if among is None else round(float(np.mean(among)), 5),
    )
