"""Thresholds from people: once pictures were judged, the identity limits can be fitted to the verdicts.

Nothing is changed here: the proposal says what would change, with intervals, and a person decides. Pictures that screening
failed were never judged, so verdicts can say little about distances beyond the present limit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.statistics import Interval, wilson
from flenwheel_core.documents.decisions import FinalDecision, Verdict
from flenwheel_core.documents.scores import Screening

MINIMUM_SAME = 20
MINIMUM_OTHER = 5
GOOD_LOST = 0.02
"""Share of right pictures that the fitted limit may fail."""
PASS_PRECISION = 0.95
"""Share of right pictures among those that the fitted threshold passes."""


@dataclass(frozen=True)
class Judged:
    """A screened picture and what a person said about its identity."""

    distance: float
    same: bool


class Rates(Document):
    """What a pair of limits does to the judged pictures; each rate with its 95 % Wilson interval."""

    threshold: float
    unsure_above: float
    pass_precision: tuple[float, float, float] = Field(description="right ones among those passed: value, low, high")
    pass_recall: tuple[float, float, float] = Field(description="passed ones among the right ones")
    others_removed: tuple[float, float, float] = Field(description="failed ones among the wrong ones")
    good_lost: tuple[float, float, float] = Field(description="failed ones among the right ones")

    def lines(self) -> list[str]:
        """For a terminal."""
        rows = (
            ("passed are right", self.pass_precision),
            ("right ones pass", self.pass_recall),
            ("wrong ones removed", self.others_removed),
            ("right ones lost", self.good_lost),
        )
        return [f"{name:<20}{Interval(*values).text()}" for name, values in rows]


class Proposal(Document):
    """Fitted limits beside the present ones. Put them into the recipe's [screening] table to use them."""

    same: int
    others: int
    now: Rates
    fitted: Rates

    def recipe_lines(self) -> list[str]:
        """Settings of the recipe's [screening]."""
        return [f"identity_threshold = {self.fitted.threshold:g}", f"unsure_above = {self.fitted.unsure_above:g}"]


def judged_pictures(screenings: Iterable[Screening], decisions: Iterable[FinalDecision]) -> list[Judged]:
    """Distances with verdicts. Rejections for other reasons than identity, and undecided pictures, say nothing about it."""
    by_image = {decision.image: decision for decision in decisions if not decision.by_policy}
    judged = []
    for row in screenings:
        decision = by_image.get(row.image)
        if decision is None or row.distance is None:
            continue
        if decision.verdict is Verdict.GOOD:
            judged.append(Judged(row.distance, same=True))
        elif "identity" in decision.reasons:
            judged.append(Judged(row.distance, same=False))
    return judged


def calibrate(judged: Sequence[Judged], threshold: float, unsure_above: float) -> Proposal:
    """The limits that fit the verdicts, beside the present ones. Raises InputError if there are too few verdicts."""
    same = sorted(one.distance for one in judged if one.same)
    others = sorted(one.distance for one in judged if not one.same)
    if len(same) < MINIMUM_SAME or len(others) < MINIMUM_OTHER:
        raise InputError(
            "There are too few verdicts to calibrate screening.",
            why=f"{len(same)} right and {len(others)} wrong-identity verdicts; "
            f"{MINIMUM_SAME} and {MINIMUM_OTHER} are needed.",
            remedy="Review more pictures, and give the reason `identity` to those that show somebody else.",
        )
    fail_above = _fail_above(same, others)
    return Proposal(
        same=len(same),
        others=len(others),
        now=rates(same, others, threshold, unsure_above),
        fitted=rates(same, others, _pass_up_to(same, others, fail_above), fail_above),
    )


def rates(same: Sequence[float], others: Sequence[float], threshold: float, unsure_above: float) -> Rates:
    """What these limits do to pictures of known truth."""
    passed_same = sum(value <= threshold for value in same)
    passed_others = sum(value <= threshold for value in others)

    def rate(successes: int, trials: int) -> tuple[float, float, float]:
        found = wilson(successes, trials)
        return round(found.value, 4), round(found.low, 4), round(found.high, 4)

    return Rates(
        threshold=round(threshold, 5),
        unsure_above=round(unsure_above, 5),
        pass_precision=rate(passed_same, passed_same + passed_others),
        pass_recall=rate(passed_same, len(same)),
        others_removed=rate(sum(value > unsure_above for value in others), len(others)),
        good_lost=rate(sum(value > unsure_above for value in same), len(same)),
    )


def _fail_above(same: Sequence[float], others: Sequence[float]) -> float:
    """The smallest limit that loses at most GOOD_LOST of the right ones, moved half-way to the next wrong one."""
    allowed = int(GOOD_LOST * len(same))
    limit = same[len(same) - 1 - allowed]
    beyond = [value for value in others if value > limit]
    return (limit + beyond[0]) / 2 if beyond else limit * 1.05


def _pass_up_to(same: Sequence[float], others: Sequence[float], highest: float) -> float:
    """The largest limit up to `highest` at which PASS_PRECISION of what passes is right."""
    best = min(same[0], highest)
    for limit in [*(value for value in same if value <= highest), highest]:
        right = sum(value <= limit for value in same)
        wrong = sum(value <= limit for value in others)
        if right / (right + wrong) >= PASS_PRECISION:
            best = limit
    return best


def equal_error_rate(same: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """The error rate at the distance where as many wrong ones pass as right ones fail, and that distance."""
    best = (1.0, 0.0, 0.0)
    for limit in sorted({*same, *others}):
        missed = sum(value > limit for value in same) / len(same)
        let_in = sum(value <= limit for value in others) / len(others)
        best = min(best, (abs(missed - let_in), (missed + let_in) / 2, limit))
    return best[1], best[2]
