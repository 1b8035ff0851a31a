"""The ladder: each rung is tried on turns it did not learn from, and used only if it beats the one in use below it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flenwheel_core.base.ids import Digest
from flenwheel_core.base.statistics import bootstrap_interval, sign_flip_test
from flenwheel_core.critic.calibration import calibrations
from flenwheel_core.critic.columns import Embeddings
from flenwheel_core.critic.logistic import Array
from flenwheel_core.critic.rungs import LADDER, RUNGS, Rung, ask, can_be_tried, fit_rung, outcomes, split
from flenwheel_core.documents.critics import (
    Critic,
    CriticLesson,
    Fitted,
    Looker,
    ReasonWeights,
    RungName,
    RungScore,
)
from flenwheel_core.documents.decisions import Verdict

SIGNIFICANCE = 0.05
MOST_FOLDS = 5
LEAST_LESSONS = 12
"""With fewer verdicts, or without both a good and another one, there is nothing to try a rung on."""
LEAST_OF_A_REASON = 10
GOOD = 2

HeldOut = Literal["turns", "sources", "nothing"]


@dataclass(frozen=True)
class Learned:
    """A critic with what it said of its own lessons while it had not seen their turn."""

    critic: Critic
    chances: Array | None
    folds: NDArray[np.intp]
    """The fold of each lesson; empty if nothing could be held out."""


@dataclass(frozen=True)
class Tried:
    """A rung on lessons that it did not learn."""

    rung: Rung
    folds: tuple[Fitted, ...]
    chances: Array
    losses: Array


def train_critic(
    lessons: Sequence[CriticLesson],
    embeddings: Embeddings,
    *,
    record: Digest,
    verifier: tuple[str, str] | None = None,
    step: Callable[[int, int], None] = lambda done, of: None,
    ladder: Sequence[Rung] = LADDER,
    looker: Looker | None = None,
) -> Learned:
    """The critic that these verdicts make. `record` is the digest of the lessons, `verifier` the name and version behind the embeddings,
    `looker` what said the log-odds that lessons carry in `vision`."""
    held_out, groups = _groups(lessons)
    folds = folds_of(lessons)
    units = units_of(lessons)
    scores: list[RungScore] = []
    standing: Tried | None = None
    for number, rung in enumerate(ladder):
        step(number, len(ladder))
        tried = None
        if folds is not None and can_be_tried(rung, lessons, embeddings):
            tried = _try(rung, lessons, embeddings, folds, groups)
        score = _score(rung, tried, standing, units, lessons, held_out)
        scores.append(score)
        if score.used and tried is not None:
            standing = tried
    used: RungName = standing.rung.name if standing is not None else "base_rate"
    fitted = fit_rung(RUNGS[used], lessons, embeddings, groups)
    reads = "embedding" in _blocks(fitted)
    critic = Critic(
        rung=used,
        fitted=fitted,
        folds=standing.folds if standing is not None else (),
        reasons=_reasons(lessons, embeddings),
        ladder=tuple(scores),
        held_out=held_out,
        calibrations=calibrations(lessons, standing.chances) if standing is not None and held_out == "turns" else (),
        verifier=verifier[0] if verifier is not None and reads else None,
        verifier_version=verifier[1] if verifier is not None and reads else None,
        looker=looker if "vision" in _blocks(fitted) else None,
        lessons=record,
        count=len(lessons),
        turns=len({_turn(lesson) for lesson in lessons}),
    )
    nothing = np.zeros(0, dtype=np.intp)
    return Learned(critic, standing.chances if standing is not None else None, nothing if folds is None else folds)


def folds_of(lessons: Sequence[CriticLesson]) -> NDArray[np.intp] | None:
    """The fold that each lesson is held out with: whole turns, or sources while there is one turn; None if nothing can be."""
    held_out, groups = _groups(lessons)
    return None if held_out == "nothing" else split(groups, min(MOST_FOLDS, len(set(groups))))


def can_learn(lessons: Sequence[CriticLesson]) -> bool:
    """True if a rung can be tried: there are enough verdicts, good ones and others, of more than one turn or source."""
    return _groups(lessons)[0] != "nothing"


def log_losses(chances: Array, lessons: Sequence[CriticLesson]) -> Array:
    """The log loss of each verdict, in nats."""
    found: Array = -np.log(chances[np.arange(len(lessons)), outcomes(lessons)])
    return found


def area_under_curve(scores: Array, good: NDArray[np.bool_]) -> float | None:
    """How often a good picture has the higher score than another one, ties half; None if there are none of either kind."""
    ups, downs = scores[good], scores[~good]
    if not len(ups) or not len(downs):
        return None
    above = (ups[:, None] > downs[None, :]).mean() + 0.5 * (ups[:, None] == downs[None, :]).mean()
    return float(above)


def means_by_unit(differences: Array, units: Sequence[str]) -> list[float]:
    """The mean of each group of lessons: edits of one source in one turn are near copies, and count once."""
    found: dict[str, list[float]] = {}
    for unit, difference in zip(units, differences.tolist(), strict=True):
        found.setdefault(unit, []).append(difference)
    return [sum(values) / len(values) for values in found.values()]


def _score(
    rung: Rung,
    tried: Tried | None,
    standing: Tried | None,
    units: Sequence[str],
    lessons: Sequence[CriticLesson],
    held_out: HeldOut,
) -> RungScore:
    if tried is None:
        why = "no vision model has learned these verdicts" if rung.name == "vision" else "too little is known for it"
        used = rung.name == "base_rate"
        return RungScore(
            rung=rung.name,
            lessons=len(lessons),
            log_loss=None,
            used=used,
            why=_TOO_FEW if used else why,
        )
    good = np.asarray([lesson.verdict is Verdict.GOOD for lesson in lessons])
    loss = float(tried.losses.mean())
    auc = area_under_curve(tried.chances[:, GOOD], good)
    if standing is None:
        return RungScore(
            rung=rung.name, lessons=len(lessons), log_loss=loss, auc=auc, used=True, why=f"held-out {held_out}"
        )
    gains = means_by_unit(standing.losses - tried.losses, units)
    p_value = sign_flip_test(gains)
    values = np.asarray(gains)
    interval = bootstrap_interval(len(values), lambda drawn: float(values[drawn].mean()))
    used = interval.value > 0 and p_value < SIGNIFICANCE
    than = standing.rung.name.replace("_", " ")
    said = f"{'better' if used else 'not surely better'} than {than} on held-out {held_out}"
    return RungScore(
        rung=rung.name,
        lessons=len(lessons),
        log_loss=loss,
        auc=auc,
        gain=interval.value,
        gain_low=interval.low,
        gain_high=interval.high,
        p_value=p_value,
        used=used,
        why=f"{said}: {interval.value:+.3f} nats a picture, p = {p_value:.3f}",
    )


_TOO_FEW = "nothing can be tried yet: too few verdicts, or all alike"


def _try(
    rung: Rung, lessons: Sequence[CriticLesson], embeddings: Embeddings, folds: NDArray[np.intp], groups: Sequence[str]
) -> Tried:
    found = np.zeros((len(lessons), 3))
    learned = []
    for fold in range(int(folds.max()) + 1):
        there, known = np.flatnonzero(folds == fold).tolist(), np.flatnonzero(folds != fold).tolist()
        fitted = fit_rung(rung, [lessons[i] for i in known], embeddings, [groups[i] for i in known])
        learned.append(fitted)
        found[there] = ask(fitted, [lessons[i] for i in there], embeddings)
    return Tried(rung, tuple(learned), found, log_losses(found, lessons))


def _turn(lesson: CriticLesson) -> str:
    return f"{lesson.character}/{lesson.turn}"


def _groups(lessons: Sequence[CriticLesson]) -> tuple[HeldOut, list[str]]:
    """What is held out together: whole turns; while there is one turn only, all pictures of a source."""
    goods = sum(lesson.verdict is Verdict.GOOD for lesson in lessons)
    turns = [_turn(lesson) for lesson in lessons]
    sources = [lesson.source or lesson.image for lesson in lessons]
    if len(lessons) < LEAST_LESSONS or goods in (0, len(lessons)):
        return "nothing", sources
    if len(set(turns)) > 1:
        return "turns", turns
    return ("sources", sources) if len(set(sources)) > 1 else ("nothing", sources)


def units_of(lessons: Sequence[CriticLesson]) -> list[str]:
    """What each verdict is counted with: the pictures of one source in one turn."""
    return [f"{_turn(lesson)}/{lesson.source or lesson.image}" for lesson in lessons]


def _blocks(fitted: Fitted) -> set[str]:
    return {*fitted.blocks, *(block for member in fitted.members for block in _blocks(member))}


def _reasons(lessons: Sequence[CriticLesson], embeddings: Embeddings) -> tuple[ReasonWeights, ...]:
    """For each reason that was given often: how likely it is for a picture that is not good, by what screening knows."""
    bad = [lesson for lesson in lessons if lesson.verdict is not Verdict.GOOD]
    codes = sorted({code for lesson in bad for code in lesson.reasons})
    found = []
    for code in codes:
        given = [code in lesson.reasons for lesson in bad]
        if not sum(given) >= LEAST_OF_A_REASON:
            continue
        # The same three outcomes, of which the middle one never occurs.
        marked = [
            lesson.model_copy(update={"verdict": Verdict.GOOD if yes else Verdict.REJECT})
            for lesson, yes in zip(bad, given, strict=True)
        ]
        fitted = fit_rung(RUNGS["screening"], marked, embeddings, [lesson.image for lesson in bad])
        found.append(ReasonWeights(reason=code, fitted=fitted))
    return tuple(found)
