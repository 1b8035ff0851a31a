"""The character fingerprint: where the real sources lie in a verifier's space, and how far from there is still the character.

Made once from real sources only and never re-averaged with made pictures: a guardrail that learns from what it let through
drifts with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.identity.cohort import stranger_limit
from flenwheel_core.identity.embedding_math import Distance, Vectors, as_vectors, centroid_of, distances_to

DECIMALS = 6
"""Embeddings are kept to this many decimals, so that a fingerprint's digest survives another machine's last bits."""


@dataclass(frozen=True)
class ThresholdRule:
    """How leave-one-out distances become a threshold: their 90 % quantile plus a margin, between a floor and a cap.

    Where strangers lie near the character, both the floor and the cap come down to where they start.
    """

    distance: Distance
    margin: float
    floor: float
    cap: float
    unsure_margin: float
    """Distances up to this much beyond the threshold are unsure rather than wrong."""
    cohort: tuple[tuple[float, ...], ...] = ()
    """Centres of other people's embeddings; empty for verifiers without."""

    def threshold(self, leave_one_out: Sequence[float], centre: Vectors | None = None) -> float:
        # One odd source (half a face, a far view) must not open the door for everybody: the 90 % quantile, not the largest.
        spread = float(np.quantile(np.asarray(leave_one_out), 0.9)) if len(leave_one_out) else self.cap
        cap = self.cap
        if self.cohort and centre is not None:
            cap = min(cap, stranger_limit(centre, as_vectors(self.cohort), self.distance))
        return float(np.clip(spread + self.margin, min(self.floor, cap), cap))


def leave_one_out_distances(vectors: Vectors, distance: Distance) -> Vectors:
    """The distance of each row to the centroid of the other rows; 0 for a single row."""
    if len(vectors) < 2:
        return np.zeros(len(vectors))
    rest = [np.delete(vectors, index, axis=0) for index in range(len(vectors))]
    return np.asarray(
        [
            float(distances_to(vectors[index : index + 1], centroid_of(others, distance), distance)[0])
            for index, others in enumerate(rest)
        ]
    )


def outlying_sources(leave_one_out: Sequence[float], rule: ThresholdRule) -> list[int]:
    """Indices of sources so far from the others that they may show somebody else."""
    values = np.asarray(leave_one_out)
    if len(values) < 4:
        return []
    limit = max(rule.cap, float(np.median(values)) * 2)
    return [int(index) for index in np.flatnonzero(values > limit)]


def make_fingerprint(
    images: Sequence[str],
    embeddings: Sequence[Sequence[float]],
    rule: ThresholdRule,
    *,
    verifier: str,
    verifier_version: str,
    sharpness: Sequence[float] = (),
) -> Fingerprint:
    """The fingerprint of the sources that could be embedded; raises InputError if there is none."""
    if not images:
        raise InputError(
            "No identity fingerprint can be made.",
            why=f"the verifier {verifier} found nothing to embed in any source.",
            remedy="Add sources with a clear face, or choose a subject verifier for drawings, animals and objects.",
        )
    vectors = np.round(as_vectors(embeddings), DECIMALS)
    left_out = leave_one_out_distances(vectors, rule.distance)
    outlying = outlying_sources(left_out.tolist(), rule)
    kept = np.delete(vectors, outlying, axis=0)
    centre = centroid_of(kept, rule.distance)
    threshold = rule.threshold(leave_one_out_distances(kept, rule.distance).tolist(), centre)
    return Fingerprint(
        verifier=verifier,
        verifier_version=verifier_version,
        images=tuple(images),
        embeddings=tuple(tuple(row) for row in vectors.tolist()),
        centroid=tuple(np.round(centre, DECIMALS).tolist()),
        distance=rule.distance,
        leave_one_out=tuple(np.round(left_out, DECIMALS).tolist()),
        threshold=round(threshold, DECIMALS),
        unsure_above=round(threshold + rule.unsure_margin, DECIMALS),
        sharpness=tuple(round(value, 3) for value in sharpness),
    )


def less_sure(fingerprint: Fingerprint, rule: ThresholdRule) -> str | None:
    """Why the verifier is less sure of this character than of others; None if it is not."""
    if fingerprint.threshold >= rule.floor:
        return None
    return (
        f"To the verifier many people look like this character, so it is less sure: a limit of {fingerprint.threshold:.2f} "
        f"instead of {rule.floor:.2f}, and more pictures are unsure."
    )
