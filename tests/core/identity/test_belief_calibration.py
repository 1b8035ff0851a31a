"""Fitting limits of belief: known beliefs give known limits, a reading that errs removes nothing, too little proposes nothing."""

import numpy as np
import pytest

from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.documents.decisions import FinalDecision, Verdict
from flenwheel_core.documents.scores import ReasonCode, Screening, ScreenReason
from flenwheel_core.identity.belief_calibration import (
    MINIMUM_GOOD,
    MINIMUM_WRONG,
    Evidence,
    JudgedReading,
    ReadingKind,
    evidence,
    lines,
    propose,
)
from flenwheel_core.recipes.screening import ScreeningRecipe

RECIPE = ScreeningRecipe()


def judged(good: list[float], wrong: list[float], kind: ReadingKind = "expression") -> Evidence:
    beliefs = [(belief, False) for belief in good] + [(belief, True) for belief in wrong]
    return Evidence(kind, tuple(JudgedReading(digest_bytes(str(at).encode()), *one) for at, one in enumerate(beliefs)))


def test_a_reading_that_people_always_agree_with_may_remove() -> None:
    random = np.random.default_rng(0)
    good = [0.0] * 150 + random.uniform(0.80, 0.88, 15).tolist()
    wrong = [0.0] * 10 + random.uniform(0.90, 1.0, 60).tolist()
    found = propose(judged(good, wrong), RECIPE)
    assert found is not None and found.removal.limit is not None
    assert 0.84 <= found.removal.limit <= 0.92
    assert found.removal.precision[1] >= 0.8 and found.removal.good_lost[0] <= 0.02
    assert found.removal.recall[0] > 0.7
    assert found.now.recall[0] == pytest.approx(60 / 70, abs=1e-3)
    assert found.ask.precision[0] > found.now.precision[0]
    assert found.recipe_lines() == [
        f"expression_unsure_from = {found.ask.limit:g}",
        f"expression_fail_from = {found.removal.limit:g}",
    ]
    ScreeningRecipe(expression_unsure_from=found.ask.limit, expression_fail_from=found.removal.limit)


def test_a_reading_that_says_nothing_is_never_a_removal() -> None:
    random = np.random.default_rng(1)
    found = propose(judged(random.uniform(0.8, 1, 150).tolist(), random.uniform(0.8, 1, 60).tolist()), RECIPE)
    assert found is not None and found.removal.limit is None
    assert [line.partition(" ")[0] for line in found.recipe_lines()] == ["expression_unsure_from"]


def test_what_fits_by_chance_does_not_stand_on_other_pictures() -> None:
    """Of a few dozen beliefs without meaning some limit always looks right on the pictures it was chosen on."""
    proposed = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        beliefs = random.uniform(0.8, 1, 70).tolist()
        found = propose(judged(beliefs[:40], beliefs[40:]), RECIPE)
        assert found is not None
        proposed += found.removal.limit is not None
    assert proposed == 0


def test_few_wrong_ones_are_not_enough_for_a_removal_however_clear() -> None:
    found = propose(judged([0.0] * 100, [0.95] * MINIMUM_WRONG), RECIPE)
    assert found is not None and found.removal.limit is None, "15 of 15 may be 80 % in truth"
    assert any("at least 80%" in line for line in lines(judged([0.0] * 100, [0.95] * MINIMUM_WRONG), found))


@pytest.mark.parametrize(("good", "wrong"), [(MINIMUM_GOOD - 1, 50), (200, MINIMUM_WRONG - 1)])
def test_too_few_verdicts_propose_nothing_and_say_so(good: int, wrong: int) -> None:
    found = judged([0.0] * good, [0.95] * wrong)
    assert propose(found, RECIPE) is None
    assert lines(found, None) == [
        f"Readings of another expression: too few verdicts: {good} good and {wrong} with the reason expression, "
        f"where {MINIMUM_GOOD} and {MINIMUM_WRONG} are needed."
    ]


def test_limits_of_spoiled_faces_start_from_the_recipes_own() -> None:
    random = np.random.default_rng(2)
    good, wrong = random.uniform(0, 0.4, 100).tolist(), random.uniform(0.3, 1, 60).tolist()
    found = propose(judged(good, wrong, "spoiled"), RECIPE)
    assert found is not None and found.now.limit == 0.5
    assert found.ask.limit is not None and 0.3 < found.ask.limit < 0.45
    assert found.ask.recall[0] > found.now.recall[0]
    assert [line.partition(" ")[0] for line in found.recipe_lines()] == ["spoiled_unsure_above", "spoiled_fail_above"]


def row(
    number: int, code: ReasonCode | None = None, belief: float | None = None, spoiled: float | None = None
) -> Screening:
    reasons = () if code is None else (ScreenReason(code=code, value=belief),)
    return Screening(
        image=f"{number:064x}", outcome="unsure", reasons=reasons, verifier="v", verifier_version="1", spoiled=spoiled
    )


def decision(number: int, verdict: Verdict, *reasons: str, by_policy: bool = False) -> FinalDecision:
    return FinalDecision(
        image=f"{number:064x}", verdict=verdict, reasons=reasons, author="someone", by_policy=by_policy
    )


def test_only_verdicts_of_its_own_kind_count() -> None:
    rows = [
        row(1, "wrong_expression", 0.9),
        row(2),
        row(3, "wrong_expression", 0.85),
        row(4, "wrong_expression", 0.99),
        row(5, "wrong_angle", 0.7, spoiled=0.2),
        row(6, "wrong_expression", None),
    ]
    decisions = [
        decision(1, Verdict.REJECT, "expression"),
        decision(2, Verdict.NEEDS_CORRECTION, "expression", "artifacts"),
        decision(3, Verdict.GOOD),
        decision(4, Verdict.REJECT, "identity"),
        decision(5, Verdict.GOOD),
        decision(6, Verdict.REJECT, "expression"),
    ]
    found = evidence("expression", rows, decisions)
    assert [(one.belief, one.wrong) for one in found.judged] == [(0.9, True), (0.0, True), (0.85, False), (0.0, False)]
    assert found.unread == 1, "what was screened before beliefs were kept says nothing"
    assert "1 more" in found.too_few()
    spoiled = evidence("spoiled", rows, decisions)
    assert [(one.belief, one.wrong) for one in spoiled.judged] == [(0.2, False)]
    assert evidence("expression", rows, [decision(1, Verdict.REJECT, "expression", by_policy=True)]).judged == ()


def test_where_nothing_is_read_its_misses_are_no_evidence() -> None:
    rows = [row(number) for number in range(3)]
    decisions = [decision(number, Verdict.REJECT, "expression") for number in range(3)]
    assert evidence("expression", rows, decisions) == Evidence("expression", (), 3)
