"""The style card: pictures of one LoRA against held-out paintings. How near they are, what they keep of their prompts, what they repeat."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flenwheel_core.base.statistics import wilson
from flenwheel_core.documents.images import Labels
from flenwheel_core.documents.scores import CellScore, Fingerprint, Scorecard, ScreenReason, StyleScore
from flenwheel_core.evaluation.diversity import diversity
from flenwheel_core.evaluation.memorised import Nearest, nearest_paintings
from flenwheel_core.evaluation.scorecard import Look
from flenwheel_core.evaluation.style_distance import Style
from flenwheel_core.identity.embedding_math import as_vectors, centroid_of
from flenwheel_core.identity.screening import FingerprintSpace, Limits, judge_quality
from flenwheel_core.images.quality import Measures
from flenwheel_core.images.style_features import StyleFeatures

READ = ("angle", "expression", "pose", "background", "lighting")
"""What of a prompt a reader may see in a picture."""
ENOUGH_CONTENT = 0.5
"""A picture that shows less of what was asked for does not pass."""
CLIP_T_UNIT = 0.35
"""CLIP-T of a picture that shows all of its prompt, about: cosines of CLIP are small. Content is told as a share of it."""


@dataclass(frozen=True)
class Reference:
    """What a style's pictures are held against."""

    style: Style
    """Held-out paintings."""
    paintings: tuple[str, ...]
    """Digests of those trained on, and how they look."""
    measures: tuple[Measures, ...]

    def nearest(self, looks: Sequence[Look]) -> tuple[Nearest, ...]:
        """The painting trained on that each picture is most like."""
        return nearest_paintings([look.measures for look in looks], self.measures)


def score_style(
    looks: Sequence[Look],
    features: Sequence[StyleFeatures],
    reference: Reference,
    fingerprint: Fingerprint,
    limits: Limits,
    *,
    lora: str | None,
) -> Scorecard:
    """The style card of one LoRA (or of the bare base model). `features` are those of the pictures, in order."""
    space = FingerprintSpace(fingerprint)
    near = reference.nearest(looks)
    cells = tuple(
        _score(look, space, limits, reference.paintings[one.index] if one.copied else None, one)
        for look, one in zip(looks, near, strict=True)
    )
    passes = wilson(sum(cell.passed for cell in cells), len(cells))
    likeness = np.asarray([cell.identity or 0.0 for cell in cells])
    distance = reference.style.distance(features)
    seen = [cell.content for cell in cells if cell.content is not None]
    return Scorecard(
        lora=lora,
        cells=cells,
        pass_rate=round(passes.value, 5),
        pass_rate_low=round(passes.low, 5),
        pass_rate_high=round(passes.high, 5),
        identity=round(float(likeness.mean()), 5),
        identity_p05=round(float(np.quantile(likeness, 0.05)), 5),
        diversity=round(diversity([look.measures.thumbnail for look in looks]), 4),
        centroid=tuple(np.round(_centre(looks), 5).tolist()),
        prompt_fidelity=_mean([look.prompt_fidelity for look in looks]),
        style=StyleScore(
            distance=round(distance.total, 5),
            low=round(distance.low, 5),
            high=round(distance.high, 5),
            parts={name: round(value, 5) for name, value in distance.parts.items()},
            content=_mean(seen),
            copied=sum(one.copied for one in near),
        ),
        verifier=fingerprint.verifier,
        verifier_version=fingerprint.verifier_version,
    )


def content_seen(asked: Labels, read: Labels, clip_t: float | None = None) -> float | None:
    """The share of what was asked for that is seen, by the reader or else by CLIP-T; None where neither can tell."""
    facts = [getattr(read, name) == wanted for name in READ if (wanted := getattr(asked, name)) is not None]
    if facts and read != Labels():
        return round(float(sum(facts)) / len(facts), 5)
    return None if clip_t is None else round(float(min(1.0, max(0.0, clip_t / CLIP_T_UNIT))), 5)


def _score(look: Look, space: FingerprintSpace, limits: Limits, copied: str | None, near: Nearest) -> CellScore:
    assert look.embedded.embedding is not None  # the verifier of styles embeds every picture
    where = space.locate(look.embedded.embedding)
    content = content_seen(look.record.labels, look.read, look.prompt_fidelity)
    reasons = [reason for outcome, reason in judge_quality(look.measures, None, limits) if outcome == "fail"]
    if where.distance > limits.threshold:
        reasons.append(ScreenReason(code="wrong_style", value=where.distance, limit=round(limits.threshold, 5)))
    if content is not None and content < ENOUGH_CONTENT:
        reasons.append(ScreenReason(code="wrong_content", value=content, limit=ENOUGH_CONTENT))
    if copied is not None:
        reasons.append(ScreenReason(code="near_copy", value=near.bits, detail=copied))
    return CellScore(
        cell=look.record.cell or "",
        image=look.record.digest,
        seed=look.record.seed or 0,
        passed=not reasons,
        identity=where.similarity,
        content=content,
        reasons=tuple(reasons),
    )


def _centre(looks: Sequence[Look]) -> "np.typing.NDArray[np.float64]":
    return centroid_of(as_vectors([look.embedded.embedding or () for look in looks]), "euclidean")


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 5) if known else None
