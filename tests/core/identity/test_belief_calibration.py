"""Fitting limits of belief: known beliefs give known limits, a reading that errs removes nothing, too little proposes nothing."""

import tomllib

import numpy as np
import pytest

from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.documents.decisions import FinalDecision, Verdict
from flenwheel_core.documents.scores import BELIEFS, ReasonCode, Screening, ScreenReason
from flenwheel_core.identity.belief_calibration import (
    GOOD_LOST_AT_MOST,
    MINIMUM_GOOD,
    MINIMUM_WRONG,
    PARTS,
    Evidence,
    JudgedReading,
    ReadingKind,
    evidence,
    flagged,
    lines,
    propose,
)
from flenwheel_core.identity.screening import LabelLimits, Limits, judge_spoiled
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
    good, wrong = random.uniform(0, 0.4, 400).tolist(), random.uniform(0.3, 1, 60).tolist()
    found = propose(judged(good, wrong, "spoiled"), RECIPE)
    assert found is not None and found.now.limit == 0.5
    assert found.ask.limit is not None and 0.3 < found.ask.limit < 0.45
    assert found.ask.recall[0] > found.now.recall[0]
    assert [line.partition(" ")[0] for line in found.recipe_lines()] == ["spoiled_unsure_above", "spoiled_fail_above"]


def row(
    number: int,
    code: ReasonCode | None = None,
    belief: float | None = None,
    spoiled: float | None = None,
    beliefs: int | None = BELIEFS,
) -> Screening:
    reasons = () if code is None else (ScreenReason(code=code, value=belief),)
    return Screening(
        image=f"{number:064x}",
        outcome="unsure",
        reasons=reasons,
        verifier="v",
        verifier_version="1",
        spoiled=spoiled,
        beliefs=beliefs,
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


def test_figures_of_other_readers_are_not_mixed_with_todays() -> None:
    """Chances of before the head of skin, and rows of before beliefs were kept: they are counted, and nothing is fitted to them."""
    rows = [row(1, spoiled=0.9), row(2, spoiled=0.1), row(3, spoiled=0.9, beliefs=None), row(4, beliefs=BELIEFS + 1)]
    decisions = [decision(number, Verdict.REJECT, "artifacts") for number in (1, 3)]
    decisions += [decision(number, Verdict.GOOD) for number in (2, 4)]
    found = evidence("spoiled", rows, decisions)
    assert [(one.belief, one.wrong) for one in found.judged] == [(0.9, True), (0.1, False)]
    assert found.unread == 2


def test_a_picture_that_two_gates_showed_is_one_witness() -> None:
    rows = [row(1, spoiled=0.2), row(1, spoiled=0.9), row(1, spoiled=0.5, beliefs=None)]
    found = evidence("spoiled", rows, [decision(1, Verdict.REJECT, "anatomy")])
    assert [one.belief for one in found.judged] == [0.9], "the last of today's"


def test_a_removal_needs_a_limit_in_every_part() -> None:
    """Where the others give no limit nothing of a part is lost: its good pictures would hide those lost elsewhere."""

    def part(one: JudgedReading) -> int:
        return int(one.image[:8], 16) % PARTS

    many = [JudgedReading(digest_bytes(f"{at}".encode()), 0.0, wrong=False) for at in range(1000)]
    good = many[:300]
    wrong = [JudgedReading(one.image, 0.95, wrong=True) for one in many[300:] if part(one) == 0][:60]
    elsewhere = [JudgedReading(one.image, 0.95, wrong=True) for one in many[300:] if part(one) == 1][:60]
    found = propose(Evidence("expression", (*good, *wrong)), RECIPE)
    assert found is not None and found.parts == PARTS - 1 and found.removal.limit is None
    said = lines(Evidence("expression", (*good, *wrong)), found)
    assert any("the others gave a limit for 4 only" in line for line in said)
    borne_out = propose(Evidence("expression", (*good, *wrong, *elsewhere)), RECIPE)
    assert borne_out is not None and borne_out.parts == PARTS and borne_out.removal.limit == 0.95


@pytest.mark.parametrize(("good", "removes"), [(72, False), (73, True)])
def test_how_many_good_ones_must_bear_a_removal_out(good: int, removes: bool) -> None:
    """None lost of 72 may be more than 5 % in truth."""
    found = propose(judged([0.0] * good, [0.95] * 60), RECIPE)
    assert found is not None and (found.removal.limit is not None) is removes
    assert (found.removal.good_lost[2] <= GOOD_LOST_AT_MOST) is removes


def test_a_saturated_belief_is_told_from_the_one_below_it() -> None:
    """A reading that is right at 1 and errs at 0.9999: a limit a step below 1 would remove both."""
    good, wrong = [0.0] * 150 + [0.9999] * 20, [1.0] * 60
    for kind, expected in (("expression", 1.0), ("spoiled", 0.9999)):
        found = propose(judged(good, wrong, kind), RECIPE)
        assert found is not None and found.removal.limit == expected and found.ask.limit == expected
        assert found.removal.good_lost[0] == 0 and found.ask.precision[0] == 1


@pytest.mark.parametrize("kind", ["expression", "spoiled"])
@pytest.mark.parametrize("belief", [0.7, 0.7001, 0.6999])
def test_a_limit_does_here_what_it_does_in_screening(kind: ReadingKind, belief: float) -> None:
    found = judged([0.0], [belief], kind)
    counted = flagged(found, 0.7).recall[0] == 1
    if kind == "spoiled":
        recipe = ScreeningRecipe(spoiled_unsure_above=0.7)
        removed = judge_spoiled(belief, Limits(recipe, 0.4, 0.6, 0.0, 0.0, 0.0)) != []
    else:
        limits = LabelLimits(ScreeningRecipe(expression_unsure_from=0.7), person=True, strict=False, certain=True)
        removed = limits.outcome("expression", belief)[0] != "pass"
    assert counted is removed


def unclear(present: float | None, *, gate_b_removes: bool) -> tuple[ScreeningRecipe, list[str], list[str]]:
    """A recipe, and what is said and printed where the verdicts bear no removal out."""
    recipe = ScreeningRecipe(expression_fail_from=present)
    random = np.random.default_rng(1)
    found = judged(random.uniform(0.8, 1, 150).tolist(), random.uniform(0.9, 1, 60).tolist())
    proposal = propose(found, recipe, gate_b_removes=gate_b_removes)
    assert proposal is not None and proposal.removal.limit is None and proposal.ask.limit is not None
    return recipe, lines(found, proposal), proposal.recipe_lines()


def test_gate_bs_own_rule_is_shown_where_no_limit_was_fitted() -> None:
    """Of anything but people a reading fails at gate B at any belief: "never" was not true."""
    _, said, printed = unclear(None, gate_b_removes=True)
    assert any(line.startswith("  removes now, at gate B by its own rule (from 0") for line in said)
    assert any("goes on removing by its own rule" in line for line in said)
    assert [line.partition(" ")[0] for line in printed] == ["expression_unsure_from"]
    _, said, _ = unclear(None, gate_b_removes=False)
    assert not any("removes now" in line or "own rule" in line for line in said)


@pytest.mark.parametrize("gate_b_removes", [False, True])
def test_lines_are_taken_together_with_what_is_said_of_a_present_limit(gate_b_removes: bool) -> None:
    recipe, said, printed = unclear(0.81, gate_b_removes=gate_b_removes)
    settings = tomllib.loads("\n".join(printed))
    assert settings["expression_unsure_from"] > 0.81, "beside the present limit it would be refused"
    present = recipe.model_dump(exclude_none=True)
    if gate_b_removes:  # deleting it would bring gate B's own rule back, which removes more
        assert settings["expression_fail_from"] == 1 and any("put expression_fail_from = 1" in line for line in said)
    else:
        assert any("delete the recipe's line expression_fail_from" in line for line in said)
        assert "# delete the line expression_fail_from = 0.81: the verdicts do not bear it out" in printed
        del present["expression_fail_from"]
    ScreeningRecipe.model_validate(present | settings)


def test_it_is_said_what_a_limit_of_a_question_lets_through() -> None:
    _, said, _ = unclear(None, gate_b_removes=False)
    assert any("take_passed" in line for line in said)
