"""What `flenwheel screen calibrate` says: parts with enough verdicts are fitted, the others say what they lack."""

import tomllib
from dataclasses import replace

import pytest

from deployments.cli.screen import report
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.documents.characters import SubjectKind
from flenwheel_core.documents.decisions import FinalDecision, Verdict
from flenwheel_core.documents.scores import BELIEFS, Screening, ScreenReason
from flenwheel_core.identity.screening import Limits
from flenwheel_core.identity.subject_rules import STYLE_RULES
from flenwheel_core.recipes.screening import ScreeningRecipe

LIMITS = Limits(ScreeningRecipe(), 0.4, 0.6, 0.0, 0.0, 0.0)


def judged(
    kind: str, count: int, belief: float, distance: float, *reasons: str
) -> list[tuple[Screening, FinalDecision]]:
    found = []
    for number in range(count):
        image = digest_bytes(f"{kind}{number}".encode())
        said = (
            (ScreenReason(code="wrong_expression", value=belief, detail="asked sad, shows smiling"),) if belief else ()
        )
        row = Screening(
            image=image,
            outcome="unsure",
            reasons=said,
            verifier="face-dlib",
            verifier_version="1",
            distance=distance,
            beliefs=BELIEFS,
        )
        verdict = Verdict.REJECT if reasons else Verdict.GOOD
        found.append((row, FinalDecision(image=image, verdict=verdict, reasons=reasons, author="ana")))
    return found


def told(
    *groups: list[tuple[Screening, FinalDecision]], kind: SubjectKind = "person", limits: Limits = LIMITS
) -> list[str]:
    pairs = [pair for group in groups for pair in group]
    return report([row for row, _ in pairs], [decision for _, decision in pairs], limits, "mira", kind)


def test_each_part_that_has_enough_verdicts_is_fitted_and_the_lines_make_a_recipe() -> None:
    good, wrong = judged("good", 80, 0.0, 0.2), judged("wrong", 40, 0.93, 0.3, "expression")
    lines = told(good, wrong, judged("other", 10, 0.0, 0.9, "identity"))
    settings = tomllib.loads("\n".join(lines[lines.index("[screening]") :]))["screening"]
    assert set(settings) == {"identity_threshold", "unsure_above", "expression_unsure_from", "expression_fail_from"}
    assert ScreeningRecipe.model_validate(settings).expression_fail_from == 0.93
    assert any(line.startswith("Readings of another angle or pose: too few verdicts") for line in lines)


def test_readings_are_fitted_where_identity_has_too_few_verdicts() -> None:
    lines = told(judged("good", 80, 0.0, 0.2), judged("wrong", 40, 0.93, 0.3, "expression"))
    assert lines[0].startswith("Identity: 80 right and 0 wrong-identity verdicts")
    assert "expression_fail_from = 0.93" in lines


def test_without_verdicts_it_says_what_is_needed() -> None:
    with pytest.raises(InputError, match="too few verdicts"):
        told(judged("good", 5, 0.0, 0.2))


def test_a_picture_of_two_gates_counts_once_and_the_lines_name_the_character() -> None:
    good, wrong = judged("good", 80, 0.0, 0.2), judged("wrong", 40, 0.93, 0.3, "expression")
    lines = told(good, wrong, good, wrong)
    assert any(line.startswith("Readings of another expression: 80 good pictures, 40 ") for line in lines)
    assert lines[0].startswith("Identity: 80 right")
    assert "# fitted to the verdicts on mira; another character needs limits of its own" in lines


@pytest.mark.parametrize(("kind", "removes"), [("person", False), ("subject", True), ("style", False)])
def test_gate_bs_own_rule_is_named_for_those_it_is_of(kind: SubjectKind, removes: bool) -> None:
    limits = replace(LIMITS, rules=STYLE_RULES) if kind == "style" else LIMITS
    good, wrong = judged("good", 80, 0.9, 0.2), judged("wrong", 40, 0.93, 0.3, "expression")
    lines = told(good, wrong, kind=kind, limits=limits)
    assert any("removes now, at gate B by its own rule" in line for line in lines) is removes
