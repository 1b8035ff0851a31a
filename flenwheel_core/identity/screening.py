"""The decision about one candidate: pass, unsure or fail, each with its reasons and the figures behind them.

`fail` removes a picture before a person sees it, so it needs evidence against the picture. Absence of evidence, such as a face
that the detector cannot see in a profile, is `unsure`: a person decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flenwheel_core.documents.images import Labels
from flenwheel_core.documents.scores import Fingerprint, ReasonCode, ScreenOutcome, ScreenReason
from flenwheel_core.identity.embedding_math import as_vectors, centroid_of, cosines_to, distances_to
from flenwheel_core.identity.protocols import Beliefs, Embedded
from flenwheel_core.identity.subject_rules import CHARACTER_RULES, SubjectRules
from flenwheel_core.identity.writing import AS_MUCH, Writing
from flenwheel_core.images.duplicates import Match
from flenwheel_core.images.quality import Measures
from flenwheel_core.recipes.screening import ScreeningRecipe

RANK: dict[ScreenOutcome, int] = {"pass": 0, "unsure": 1, "fail": 2}

Finding = tuple[ScreenOutcome, ScreenReason]


@dataclass(frozen=True)
class Limits:
    """The limits of one screening run: the recipe's, the fingerprint's and the references' own."""

    recipe: ScreeningRecipe
    threshold: float
    unsure_above: float
    reference_sharpness: float
    """Sharpness of the least sharp reference, leaving out the worst tenth."""
    reference_brightness: float
    """Brightness of the darkest reference."""
    reference_clipped: float
    """Largest share of pure black or white pixels of a reference: a dark drawing on black may have many."""
    rules: SubjectRules = CHARACTER_RULES


def limits_of(
    recipe: ScreeningRecipe,
    fingerprint: Fingerprint,
    *,
    strict: bool,
    references: Sequence[Measures] = (),
    rules: SubjectRules = CHARACTER_RULES,
) -> Limits:
    """The limits for candidates of this subject; `strict` tightens likeness."""
    threshold = recipe.identity_threshold if recipe.identity_threshold is not None else fingerprint.threshold
    unsure = recipe.unsure_above if recipe.unsure_above is not None else fingerprint.unsure_above
    scale = recipe.strict_scale if strict else 1.0
    return Limits(
        recipe=recipe,
        threshold=threshold * scale,
        unsure_above=max(unsure, threshold) * scale,
        reference_sharpness=float(np.quantile(fingerprint.sharpness, 0.1)) if fingerprint.sharpness else 0.0,
        reference_brightness=min((measures.brightness for measures in references), default=0.0),
        reference_clipped=max((measures.clipped for measures in references), default=0.0),
        rules=rules,
    )


@dataclass(frozen=True)
class Identity:
    """Where a candidate lies relative to the fingerprint."""

    distance: float
    similarity: float
    nearest: str
    nearest_distance: float


class FingerprintSpace:
    """A fingerprint as arrays, for many candidates."""

    def __init__(self, fingerprint: Fingerprint) -> None:
        self._fingerprint = fingerprint
        self._references = as_vectors(fingerprint.embeddings)
        self._centroid = np.asarray(fingerprint.centroid)

    def locate(self, embedding: Sequence[float]) -> Identity:
        """The distance to the centroid and to the nearest reference."""
        vector = np.asarray(embedding, dtype=np.float64)
        kind = self._fingerprint.distance
        to_references = distances_to(self._references, centroid_of(vector[None], kind), kind)
        nearest = int(np.argmin(to_references))
        return Identity(
            distance=round(float(distances_to(vector[None], self._centroid, kind)[0]), 5),
            similarity=round(float(cosines_to(vector[None], self._centroid)[0]), 5),
            nearest=self._fingerprint.images[nearest],
            nearest_distance=round(float(to_references[nearest]), 5),
        )


def judge_identity(embedded: Embedded, identity: Identity | None, asked: Labels, limits: Limits) -> list[Finding]:
    """What the verifier's answer means for a candidate that was asked to show `asked`."""
    recipe = limits.recipe
    if identity is None and embedded.problem == "profile_face":
        # There is a face, turned so far that the network puts strangers as near as the character: a person decides.
        return [("unsure", ScreenReason(code="profile_face"))]
    if identity is None:
        return [("unsure" if _may_hide_face(asked) else "fail", ScreenReason(code="no_face"))]
    found: list[Finding] = []
    if embedded.problem == "extra_faces":
        found.append(("unsure", ScreenReason(code="extra_faces")))
    if embedded.subject_size is not None and embedded.subject_size < recipe.minimum_face_px:
        # Tiny faces look alike to the network: a near distance proves nothing, and neither does a far one.
        size = ScreenReason(code="face_too_small", value=embedded.subject_size, limit=recipe.minimum_face_px)
        return [*found, ("unsure", size)]
    value = identity.distance
    if value <= limits.threshold:
        found.append(("pass", ScreenReason(code=limits.rules.alike, value=value, limit=round(limits.threshold, 5))))
    elif value <= limits.unsure_above:
        reason = ScreenReason(code=limits.rules.borderline, value=value, limit=round(limits.threshold, 5))
        found.append(("unsure", reason))
    else:
        reason = ScreenReason(code=limits.rules.unlike, value=value, limit=round(limits.unsure_above, 5))
        found.append((limits.rules.unlike_outcome, reason))
    return found


def _may_hide_face(asked: Labels) -> bool:
    """True unless the plan asked for a frontal portrait: profiles, bodies and far views may show no face that is found."""
    return not (asked.angle in ("front", "half-left", "half-right") and asked.pose in (None, "portrait"))


def judge_quality(measures: Measures, embedded: Embedded | None, limits: Limits) -> list[Finding]:
    """Size, sharpness and exposure against the references."""
    side, least = min(measures.width, measures.height), limits.recipe.minimum_side_px
    found: list[Finding] = []
    if side < least:
        found.append(("fail", ScreenReason(code="too_small", value=side, limit=least)))
    return found + _judge_sharpness(measures, embedded, limits) + _judge_exposure(measures, limits)


def _judge_sharpness(measures: Measures, embedded: Embedded | None, limits: Limits) -> list[Finding]:
    recipe = limits.recipe
    face_missing = embedded is not None and embedded.problem == "no_face"
    if limits.reference_sharpness <= 0 or face_missing:
        # References were measured on their faces: a picture without one has nothing to compare.
        return []
    share = round(subject_sharpness(measures, embedded) / limits.reference_sharpness, 4)
    if share >= recipe.blurred_unsure_below:
        return []
    fails = share < recipe.blurred_fail_below
    limit = recipe.blurred_fail_below if fails else recipe.blurred_unsure_below
    reason = ScreenReason(code="blurred", value=share, limit=limit, detail="share of the references' sharpness")
    return [("fail" if fails else "unsure", reason)]


def _judge_exposure(measures: Measures, limits: Limits) -> list[Finding]:
    """The gravest of: nearly black, nearly white, blown out, darker than any reference."""
    recipe = limits.recipe
    clipped = round(measures.clipped - limits.reference_clipped, 5)
    darkest = round(limits.reference_brightness * recipe.darker_than_references, 3)
    checks: tuple[tuple[bool, ScreenOutcome, float, float, str], ...] = (
        (measures.brightness < recipe.darkest_mean, "fail", measures.brightness, recipe.darkest_mean, "too dark"),
        (measures.brightness > recipe.brightest_mean, "fail", measures.brightness, recipe.brightest_mean, "too bright"),
        (clipped > recipe.clipped_fail_above, "fail", clipped, recipe.clipped_fail_above, "pure black or white"),
        (clipped > recipe.clipped_unsure_above, "unsure", clipped, recipe.clipped_unsure_above, "pure black or white"),
        (measures.brightness < darkest, "unsure", measures.brightness, darkest, "darker than every reference"),
    )
    for wrong, outcome, value, limit, detail in checks:
        if wrong:
            return [(outcome, ScreenReason(code="badly_exposed", value=value, limit=limit, detail=detail))]
    return []


def judge_spoiled(chance: float | None, limits: Limits) -> list[Finding]:
    """A face that looks pulled about or melted is a question for a person, and a removal only above a limit that was fitted to
    people's verdicts: the detector errs."""
    limit, fail_above = limits.recipe.spoiled_unsure_above, limits.recipe.spoiled_fail_above
    if chance is None or chance <= limit:
        return []
    if fail_above is not None and chance > fail_above:
        return [("fail", ScreenReason(code="spoiled_face", value=chance, limit=fail_above))]
    return [("unsure", ScreenReason(code="spoiled_face", value=chance, limit=limit))]


def judge_writing(writing: Writing | None, allowed: float, limits: Limits) -> list[Finding]:
    """Writing that neither the prompt asked for nor the sources show as much of is a question for a person, never a removal.

    `allowed` is the share of the picture that writing may cover; 1 where it was asked for.
    """
    limit = limits.recipe.writing_unsure_above
    if writing is None or writing.belief <= limit or writing.share <= allowed:
        return []
    detail = f"{writing.where}, {writing.share:.1%} of the picture"
    if allowed:
        detail += f"; the sources show up to {allowed / AS_MUCH:.1%}"
    return [("unsure", ScreenReason(code="writing", value=writing.belief, limit=limit, detail=detail))]


def subject_sharpness(measures: Measures, embedded: Embedded | None) -> float:
    """The face's own sharpness where one was found: a sharp face before a soft background is sharp."""
    if embedded is not None and embedded.sharpness is not None:
        return embedded.sharpness
    return measures.sharpness


def judge_copy(match: Match | None, identity: Identity | None, limits: Limits) -> list[Finding]:
    """A picture too near a reference is that reference again, not a success: it teaches nothing and hides collapse."""
    if match is None:
        return []
    if identity is not None and identity.nearest_distance > limits.recipe.near_copy_distance:
        return []
    detail = "mirrored" if match.mirrored else ""
    reason = ScreenReason(code="near_copy", value=match.bits, limit=limits.recipe.near_copy_bits, detail=detail)
    return [("fail", reason)]


@dataclass(frozen=True)
class LabelLimits:
    """What a reading that differs from what was asked for may do to a picture."""

    recipe: ScreeningRecipe
    person: bool
    strict: bool
    """Gate B, where the captions of made pictures must be true."""
    certain: bool = False
    """Read from the whole face: of people, coarse hints never count."""
    may_fail: bool = True
    """False for styles: a reader errs about what is painted loosely, whatever the limits."""

    @property
    def gate_b_removes(self) -> bool:
        """Gate B's own rule, where no limit of a removal was fitted: any reading that is asked about fails."""
        return self.strict and self.may_fail and not self.person

    def outcome(self, field: str, belief: float | None) -> tuple[ScreenOutcome, float | None]:
        """What a wrong reading of this belief means, and the limit that says so.

        Without limits fitted to people's verdicts (`flenwheel screen calibrate`) a reading of a person is a question at both gates and
        never a removal; of anything else it is a question, and a removal at gate B. Of a style it never is one.
        """
        of_angle = field in ("angle", "pose")
        ask = self.recipe.angle_unsure_from if of_angle else self.recipe.expression_unsure_from
        remove = self.recipe.angle_fail_from if of_angle else self.recipe.expression_fail_from
        if belief is not None and ask is not None and belief < ask:
            return "pass", ask
        if belief is not None and remove is not None:
            return ("fail", remove) if belief >= remove and self.may_fail else ("unsure", ask)
        return ("fail" if self.gate_b_removes else "unsure"), ask


def judge_labels(asked: Labels, read: Labels, beliefs: Beliefs, limits: LabelLimits) -> list[Finding]:
    """Asked for one angle, expression or pose and got another."""
    if limits.person and not limits.certain:
        return []
    found: list[Finding] = []
    codes: tuple[tuple[ReasonCode, str, str | None, str | None], ...] = (
        ("wrong_angle", "angle", asked.angle, read.angle),
        ("wrong_expression", "expression", asked.expression, read.expression),
        ("wrong_pose", "pose", asked.pose, read.pose),
    )
    for code, field, wanted, seen in codes:
        if wanted is not None and seen is not None and wanted != seen:
            outcome, limit = limits.outcome(field, beliefs.get(field))
            detail = f"asked {wanted}, shows {seen}"
            found.append((outcome, ScreenReason(code=code, value=beliefs.get(field), limit=limit, detail=detail)))
    return found


def outcome_of(findings: Sequence[Finding]) -> ScreenOutcome:
    """The worst finding decides; no finding is `unsure`, never a pass."""
    if not findings:
        return "unsure"
    return max((outcome for outcome, _ in findings), key=lambda outcome: RANK[outcome])


def sorted_reasons(findings: Sequence[Finding]) -> tuple[ScreenReason, ...]:
    """The reasons, worst first."""
    return tuple(reason for _, reason in sorted(findings, key=lambda finding: -RANK[finding[0]]))
