"""The last state of a training stays, unless another one surely shows more."""

import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.choices import State, TriedState, worth
from flenwheel_core.documents.scores import Scorecard, ScreenReason
from flenwheel_core.evaluation.promotion.states import beats, best_place
from flenwheel_core.recipes.benchmark import BenchmarkRecipe
from tests.kit.scorecards import card

RULE = BenchmarkRecipe()


def tried(shown: Scorecard, step: int = 10, strength: float = 1.0) -> TriedState:
    return TriedState(state=State(step=step, strength=strength, lora="b" * 64), card=shown)


def test_a_sure_gain_is_taken_and_a_lucky_one_is_not() -> None:
    last = card(passed=10)
    sure, lucky = beats(last, card(passed=19), RULE, 0.05), beats(last, card(passed=13), RULE, 0.05)
    assert sure.promote and "A gain that chance would not explain" in sure.reasons[0]
    assert not lucky.promote and "No gain" in lucky.reasons[0]
    assert beats(last, card(passed=13), RULE, 0.3).promote, "the recipe says how sure"
    assert not beats(last, last, RULE, 0.05).promote
    assert not beats(card(passed=19), last, RULE, 0.05).promote


def test_a_gain_that_is_bought_with_identity_or_diversity_is_not_taken() -> None:
    last = card(passed=10)
    assert not beats(last, card(passed=20, diversity=6.0), RULE, 0.05).promote
    assert not beats(last, card(passed=20, identity=0.7), RULE, 0.05).promote


def test_states_of_other_prompts_are_refused() -> None:
    other = card(passed=20)
    moved = other.model_copy(update={"cells": tuple(c.model_copy(update={"seed": c.seed + 1}) for c in other.cells)})
    with pytest.raises(InputError, match="not drawn from the same prompts"):
        beats(card(), moved, RULE, 0.05)


def test_the_best_shows_most_then_is_most_alike_and_the_last_state_wins_ties() -> None:
    few, many = card(passed=9), card(passed=15)
    assert best_place([tried(few), tried(many), tried(few)]) == 1
    assert best_place([tried(many), tried(card(passed=15, identity=0.95)), tried(many)]) == 1
    assert best_place([tried(many), tried(many, strength=0.8), tried(many)]) == 2


def test_somebody_else_shows_nothing_of_what_was_asked() -> None:
    cell = card().cells[0]
    assert worth(cell) == 1.0
    assert worth(cell.model_copy(update={"angle_ok": False, "expression_ok": True})) == 0.5
    assert worth(cell.model_copy(update={"reasons": (ScreenReason(code="wrong_identity"),)})) == 0.0
    assert worth(cell.model_copy(update={"measured": False})) == 0.0
