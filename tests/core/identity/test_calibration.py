"""Fitting limits to verdicts: known clouds give known limits, wrong evidence is left out, too little is refused."""

import numpy as np
import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.decisions import FinalDecision, Verdict
from flenwheel_core.documents.scores import Screening
from flenwheel_core.identity.calibration import Judged, calibrate, equal_error_rate, judged_pictures


def judged(same: list[float], others: list[float]) -> list[Judged]:
    return [Judged(value, same=True) for value in same] + [Judged(value, same=False) for value in others]


def test_separated_clouds_are_separated() -> None:
    same = np.linspace(0.05, 0.30, 60).tolist()
    others = np.linspace(0.60, 1.1, 40).tolist()
    found = calibrate(judged(same, others), threshold=0.2, unsure_above=0.9)
    assert found.now.pass_recall[0] < 0.7 and found.now.others_removed[0] < 0.5
    assert 0.3 <= found.fitted.threshold <= found.fitted.unsure_above < 0.6
    assert found.fitted.others_removed[0] == 1.0
    assert found.fitted.good_lost[0] <= 0.02
    assert found.fitted.pass_precision[0] == 1.0


def test_overlapping_clouds_pass_few_and_leave_the_rest_to_people() -> None:
    random = np.random.default_rng(4)
    same, others = random.normal(0.35, 0.1, 200), random.normal(0.5, 0.1, 200)
    found = calibrate(judged(same.tolist(), others.tolist()), 0.4, 0.5)
    assert found.fitted.threshold < found.fitted.unsure_above
    assert found.fitted.pass_precision[0] >= 0.95
    assert found.fitted.good_lost[0] <= 0.02


def test_intervals_narrow_with_more_verdicts() -> None:
    def width(number: int) -> float:
        values = calibrate(judged([0.1] * number, [0.9] * number), 0.3, 0.5).fitted.others_removed
        return values[2] - values[1]

    assert width(200) < width(20)


def test_too_few_verdicts_are_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match="too few verdicts") as caught:
        calibrate(judged([0.1] * 30, [0.9] * 2), 0.3, 0.5)
    assert "identity" in caught.value.remedy


def test_only_verdicts_about_identity_count() -> None:
    def row(number: int, distance: float | None = 0.2) -> Screening:
        return Screening(image=f"{number:064x}", outcome="pass", verifier="v", verifier_version="1", distance=distance)

    def decision(number: int, verdict: Verdict, *reasons: str, by_policy: bool = False) -> FinalDecision:
        return FinalDecision(
            image=f"{number:064x}", verdict=verdict, reasons=reasons, author="someone", by_policy=by_policy
        )

    found = judged_pictures(
        [row(1), row(2), row(3), row(4), row(5, None), row(6)],
        [
            decision(1, Verdict.GOOD),
            decision(2, Verdict.REJECT, "identity", "artifacts"),
            decision(3, Verdict.REJECT, "anatomy"),
            decision(4, Verdict.GOOD, by_policy=True),
            decision(5, Verdict.GOOD),
        ],
    )
    assert found == [Judged(0.2, same=True), Judged(0.2, same=False)]


def test_equal_error_rate_of_known_clouds() -> None:
    assert equal_error_rate([0.1, 0.2], [0.8, 0.9])[0] == 0
    rate, limit = equal_error_rate([0.1, 0.2, 0.3, 0.7], [0.25, 0.6, 0.8, 0.9])
    assert rate == pytest.approx(0.25)
    assert 0.3 <= limit < 0.7


def test_the_proposal_says_what_to_write() -> None:
    found = calibrate(judged([0.1] * 30, [0.9] * 30), 0.3, 0.5)
    assert found.recipe_lines()[0] == "identity_threshold = 0.5"
    assert any("right ones lost" in line for line in found.now.lines())
