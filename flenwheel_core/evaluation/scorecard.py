"""From pictures to a scorecard: what each cell shows, whether it passes first try, and the figures over all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flenwheel_core.base.statistics import wilson
from flenwheel_core.documents.images import ImageRecord, Labels
from flenwheel_core.documents.prompts import CELLS_BY_ID
from flenwheel_core.documents.scores import CellScore, Fingerprint, Scorecard, ScreenReason
from flenwheel_core.evaluation.diversity import diversity
from flenwheel_core.identity.embedding_math import as_vectors, centroid_of
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.identity.screening import FingerprintSpace, Identity, Limits, judge_quality
from flenwheel_core.images.quality import Measures

COARSE_SIDE = {"half-left": "left", "profile-left": "left", "half-right": "right", "profile-right": "right"}


@dataclass(frozen=True)
class Look:
    """What was found in one benchmark picture."""

    record: ImageRecord
    measures: Measures
    embedded: Embedded
    read: Labels
    prompt_fidelity: float | None = None


def score_card(
    looks: Sequence[Look],
    fingerprint: Fingerprint,
    limits: Limits,
    *,
    lora: str | None,
    person: bool,
    first_turn: Scorecard | None = None,
) -> Scorecard:
    """The scorecard of one LoRA (or of the bare base model)."""
    space = FingerprintSpace(fingerprint)
    cells = tuple(_score(look, space, limits, person=person) for look in looks)
    measured = [cell for cell in cells if cell.measured]
    passes = wilson(sum(cell.passed for cell in measured), len(measured))
    identities = np.asarray([cell.identity for cell in cells if cell.identity is not None])
    centroid = _centroid(looks)
    same = first_turn is not None and first_turn.verifier_version == fingerprint.verifier_version
    return Scorecard(
        lora=lora,
        cells=cells,
        pass_rate=round(passes.value, 5),
        pass_rate_low=round(passes.low, 5),
        pass_rate_high=round(passes.high, 5),
        identity=round(float(identities.mean()), 5) if len(identities) else 0.0,
        identity_p05=round(float(np.quantile(identities, 0.05)), 5) if len(identities) else 0.0,
        angle_rate=_share([cell.angle_ok for cell in cells]),
        expression_rate=_share([cell.expression_ok for cell in cells]),
        pose_rate=_share([cell.pose_ok for cell in cells]),
        diversity=round(diversity([look.measures.thumbnail for look in looks]), 4),
        centroid=tuple(np.round(centroid, 5).tolist()),
        drift=_drift(first_turn.centroid, centroid) if same and first_turn is not None else None,
        prompt_fidelity=_mean([look.prompt_fidelity for look in looks]),
        verifier=fingerprint.verifier,
        verifier_version=fingerprint.verifier_version,
    )


def _score(look: Look, space: FingerprintSpace, limits: Limits, *, person: bool) -> CellScore:
    cell = CELLS_BY_ID[look.record.cell or ""]
    identity = _identity(look, space, limits)
    reasons = _identity_reasons(look, identity, limits)
    reasons += [reason for outcome, reason in judge_quality(look.measures, look.embedded, limits) if outcome == "fail"]
    body = cell.pose != "portrait"
    certain = person and look.embedded.labels_certain
    # A reader of whole pictures cannot make out the face of a body; one of faces can, if the face is large enough.
    faced = not body or (certain and (look.embedded.subject_size or 0) >= limits.recipe.minimum_face_px)
    angle_ok = _agrees(cell.angle, look.read.angle, coarse=person and not certain) if faced else None
    expression_ok = _agrees(cell.expression, look.read.expression) if faced else None
    pose_ok = _agrees(cell.pose, look.read.pose)
    # A profile or a body in which no face, or a tiny one, is found tells nothing about who it is: it is left out of the rate.
    measured = identity is not None or (not body and cell.angle in ("front", "half-left", "half-right"))
    shown = all(ok is not False for ok in (angle_ok, expression_ok, pose_ok))
    return CellScore(
        cell=cell.id,
        image=look.record.digest,
        seed=look.record.seed or 0,
        passed=measured and not reasons and shown,
        measured=measured,
        identity=identity.similarity if identity else None,
        angle_ok=angle_ok,
        expression_ok=expression_ok,
        pose_ok=pose_ok,
        reasons=tuple(reasons),
    )


def _identity(look: Look, space: FingerprintSpace, limits: Limits) -> Identity | None:
    """Where the picture lies; None without a face, or with one too small to be told apart from others."""
    size = look.embedded.subject_size
    if look.embedded.embedding is None or (size is not None and size < limits.recipe.minimum_face_px):
        return None
    return space.locate(look.embedded.embedding)


def _identity_reasons(look: Look, identity: Identity | None, limits: Limits) -> list[ScreenReason]:
    if identity is None:
        size = look.embedded.subject_size
        if look.embedded.problem == "profile_face":
            return [ScreenReason(code="profile_face")]
        return [ScreenReason(code="no_face" if size is None else "face_too_small", value=size)]
    if identity.distance <= limits.threshold:
        return []
    return [ScreenReason(code="wrong_identity", value=identity.distance, limit=round(limits.threshold, 5))]


def _agrees(asked: str | None, read: str | None, *, coarse: bool = False) -> bool | None:
    """True or False if both are known. Coarse: hints of people tell sides apart, not how far a head is turned."""
    if asked is None or read is None:
        return None
    if not coarse or asked == read:
        return asked == read
    sides = (COARSE_SIDE.get(asked), COARSE_SIDE.get(read))
    return sides[0] == sides[1] or (None in sides and "profile" not in asked + read)


def _share(values: Sequence[bool | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 5) if known else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 5) if known else None


def _centroid(looks: Sequence[Look]) -> NDArray[np.float64]:
    found = [look.embedded.embedding for look in looks if look.embedded.embedding is not None]
    return centroid_of(as_vectors(found), "cosine") if found else np.zeros(0)


def _drift(first: tuple[float, ...], now: NDArray[np.float64]) -> float | None:
    """Cosine distance between the identity centroids of turn 1 and now."""
    if len(first) != len(now) or not len(now):
        return None
    return round(max(0.0, 1.0 - float(np.dot(np.asarray(first), now))), 5)
