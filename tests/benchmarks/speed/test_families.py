"""The usual way trains small models of each family, and rehearsals' rows stand beside it."""

from pathlib import Path

import pytest
import torch

from benchmarks.speed import families
from benchmarks.speed.families import FAMILIES_OF_RECIPES, joined, turn_of_klein
from benchmarks.speed.family_usual import CASES, UsualCase, klein, seconds_of, usual_step, z_image
from benchmarks.speed.rehearsal_bases import ZImageSizes
from benchmarks.speed.rehearsal_klein import KleinSizes, Qwen3Sizes
from flenwheel_core.recipes.loading import load_recipe

TEXT = Qwen3Sizes(1, 8, 8, 2, 1, 4, 16)
SMALL = {
    "klein": klein(references=0, side=3, sizes=KleinSizes(1, 1, 1, TEXT, (4, 4, 4, 4), 4)),
    "klein_edit": klein(references=1, side=3, sizes=KleinSizes(1, 1, 1, TEXT, (4, 4, 4, 4), 4)),
    "z_image": z_image(side=4, sizes=ZImageSizes(32, 1, 1, 2, (4, 6, 6), TEXT)),
}


@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_a_step_of_the_usual_way_moves_adapters(case: UsualCase) -> None:
    step = usual_step(case, torch.device("cpu"), checkpointed=True, compiled=False)
    assert float(step()) > 0
    seconds, peak = seconds_of(step, torch.device("cpu"))
    assert seconds > 0 and peak is None


def test_every_case_finds_linears_for_its_adapters() -> None:
    for case in CASES.values():
        with torch.device("meta"):
            model = case.build()
        names = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
        for ending in case.targets:
            assert any(name.endswith(ending) for name in names), ending


def test_seconds_count_only_where_nothing_ran_beside() -> None:
    for recipe in FAMILIES_OF_RECIPES:
        own = Path(families.__file__).with_name(f"{recipe}.toml")  # a recipe of the rehearsal's
        assert load_recipe(str(own) if own.exists() else recipe).name == recipe
    row = {
        "case": "train_24gib_klein",
        "stage": "train",
        "recipe": "klein_character",
        "card_gib": 24.0,
        "beside": 0,
        "item_seconds": 0.1,
        "peak_reserved_gib": 20.0,
        "predicted_gib": 20.5,
        "ended": True,
    }
    usual = [{"case": "usual_FLUX.2_train", "usual_seconds": 0.28}]
    (alone,) = joined([row], usual)
    assert (alone["family"], alone["step_seconds"], alone["usual_seconds"]) == ("FLUX.2", 0.1, 0.28)
    (beside,) = joined([{**row, "beside": 3}], usual)
    assert beside["step_seconds"] is None and beside["peak_reserved_gib"] == 20.0
    assert joined([{**row, "stage": "screen"}, {**row, "ended": False}], usual) == []


def test_a_turn_is_the_sum_of_its_stages() -> None:
    def row(stage: str, first: float, each: float | None) -> dict[str, str | float | None]:
        return {
            "case": f"{stage}_24gib_klein",
            "stage": stage,
            "first_item_seconds": first,
            "item_seconds": each,
        }

    rows = [
        row("ingest", 10, 1),
        row("enrich", 10, 1),
        row("screen", 5, None),
        row("train", 100, 0.1),
        row("generate", 10, 1),
        row("benchmark", 10, 1),
    ]
    (turn,) = turn_of_klein(rows)
    expected = (10 + 11) + (10 + 49) + 2 * 5 + 2 * (100 + 149.9) + 2 * (10 + 91)
    assert turn["turn_minutes"] == pytest.approx(expected / 60)
    assert turn_of_klein(rows[1:]) == []
