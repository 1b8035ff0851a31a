"""The table of bases: best first, intervals beside figures, and nothing called worse that is not shown to be."""

import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.evaluation.bases import MeasuredBase, base_table
from flenwheel_core.recipes.benchmark import BenchmarkRecipe
from tests.kit.scorecards import card

RECIPE = BenchmarkRecipe()


def measured(name: str, **figures: object) -> MeasuredBase:
    return MeasuredBase(name, f"org/{name}", "Apache-2.0, commercial use allowed", card(**figures))  # type: ignore[arg-type]


def test_the_best_is_first_and_every_figure_has_its_interval() -> None:
    table = base_table([measured("a", passed=4), measured("b", passed=21, jitter=0.05)], RECIPE)
    lines = table.lines()
    assert [row[0].recipe for row in table.rows] == ["b", "a"]
    assert lines[2].startswith("| b | org/b | 91% (73% to 98%) | 0.9") and "| the best |" in lines[2]
    assert " to 0.9" in lines[2] and "Apache-2.0" in lines[2]
    assert "-74%, p = " in lines[3]
    assert lines[-1] == "b passes most often. Shown to be worse: a."


def test_a_difference_that_few_pictures_show_is_called_open() -> None:
    table = base_table([measured("a", passed=18), measured("b", passed=20)], RECIPE)
    assert "Not shown to differ from it: a" in table.lines()[-1]


def test_several_bases_share_the_significance() -> None:
    """Six more passes of 23 have a p of 0.031: a difference for one pair, none among three."""
    two = base_table([measured("a", passed=14), measured("b", passed=20)], RECIPE)
    three = base_table([measured("a", passed=14), measured("b", passed=20), measured("c", passed=20)], RECIPE)
    assert "Shown to be worse: a" in two.lines()[-1]
    assert "Shown" not in three.lines()[-1]


def test_equal_pass_rates_are_ordered_by_identity() -> None:
    table = base_table([measured("a", identity=0.8), measured("b", identity=0.9)], RECIPE)
    assert [row[0].recipe for row in table.rows] == ["b", "a"]


def test_cards_that_were_measured_otherwise_are_refused() -> None:
    with pytest.raises(InputError, match="different verifiers"):
        base_table([measured("a"), measured("b", version="2")], RECIPE)
