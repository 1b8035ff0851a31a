"""The promotion rule, case by case."""

import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.evaluation.promotion.characters import collapse_alarm, compare
from flenwheel_core.recipes.benchmark import BenchmarkRecipe
from tests.kit.scorecards import card

RECIPE = BenchmarkRecipe()


@pytest.mark.parametrize(
    ("champion", "challenger", "promote", "alarm"),
    [
        ("better in all", card(passed=20, identity=0.95, diversity=12.5), True, False),
        ("equal", card(), True, False),
        ("fewer cells", card(passed=17, identity=0.95), False, False),
        ("identity clearly lower", card(passed=20, identity=0.85), False, False),
        ("identity lower within the margin", card(passed=20, identity=0.895), True, False),
        ("less diverse", card(passed=20, diversity=10.5, identity=0.85), False, False),
        ("collapsed: surer of fewer pictures", card(passed=22, identity=0.97, diversity=6.0), False, True),
    ],
)
def test_promotion_rule(champion: str, challenger, promote: bool, alarm: bool) -> None:  # type: ignore[no-untyped-def]
    found = compare(card(), challenger, RECIPE)
    assert (found.promote, found.collapse_alarm) == (promote, alarm), champion
    assert found.reasons


def test_identity_noise_alone_does_not_keep_a_challenger_back() -> None:
    champion = card(identity=0.9)
    cells = [
        score.model_copy(update={"identity": 0.9 + (0.1 if index % 3 else -0.28)})
        for index, score in enumerate(champion.cells)
    ]
    mean = sum(score.identity or 0 for score in cells) / len(cells)
    challenger = champion.model_copy(update={"cells": tuple(cells), "identity": mean})
    assert mean < 0.9 - RECIPE.identity_margin
    assert compare(champion, challenger, RECIPE).promote


def test_collapse_is_seen_against_turn_one_too() -> None:
    slow = compare(card(diversity=9.5), card(diversity=9.0), RECIPE, first_turn=card(diversity=12.0))
    assert slow.collapse_alarm and not slow.promote


def test_the_base_model_is_no_yardstick_of_diversity() -> None:
    base = card(lora=None, passed=2, identity=0.1, diversity=20.0)
    found = compare(base, card(diversity=8.0), RECIPE)
    assert found.promote and not found.collapse_alarm
    assert not collapse_alarm(base, card(diversity=8.0), RECIPE)


def test_cells_that_could_not_be_measured_are_left_out() -> None:
    found = compare(card(passed=18), card(passed=18, unmeasured=3), RECIPE)
    assert found.pass_rate_gain == 0.0


def test_other_seeds_or_verifiers_cannot_be_compared() -> None:
    champion = card()
    other = champion.model_copy(
        update={"cells": tuple(score.model_copy(update={"seed": score.seed + 1}) for score in champion.cells)}
    )
    with pytest.raises(InputError, match="same prompts"):
        compare(champion, other, RECIPE)
    with pytest.raises(InputError, match="different verifiers"):
        compare(champion, card(version="2"), RECIPE)
