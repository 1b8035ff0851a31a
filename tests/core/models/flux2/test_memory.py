"""The memory plans of FLUX.2: weights counted exactly, a plan for every stage on small cards, trainings held to what a card reserved."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from flenwheel_core.adapters.targets import lora_ranks
from flenwheel_core.base.errors import RecipeError, ResourceError
from flenwheel_core.memory.drawing import Largest
from flenwheel_core.memory.training import predict_gib, recompute_steps
from flenwheel_core.models.card_plan import CardRoom
from flenwheel_core.models.flux2.card_plans import card_plans, step_tokens
from flenwheel_core.models.flux2.lora_host import linear_shapes_of
from flenwheel_core.models.flux2.memory import adapter_weights_of, drawing_memory, drawing_spec, training_spec
from flenwheel_core.models.flux2.names import TARGETS
from flenwheel_core.recipes.editor import EditorRecipe
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.train import TrainingRecipe
from tests.kit.released_folders import KLEIN_4B, KLEIN_9B, write_klein

PROJECT = Path(__file__).resolve().parents[4]
RESULTS = PROJECT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_klein(tmp_path_factory.mktemp("klein") / "4b", KLEIN_4B)


@pytest.mark.parametrize(("config", "billions", "blocks"), [(KLEIN_4B, 3.876, 25), (KLEIN_9B, 9.079, 32)])
def test_all_weights_are_counted_once(config: dict[str, Any], billions: float, blocks: int) -> None:
    spec, drawing = training_spec(config), drawing_spec(config, vae_gib=0.0)
    inside = sum(block.count * block.weights for block in spec.blocks)
    assert inside == drawing.weights and sum(block.count for block in spec.blocks) == blocks
    total = inside + spec.other_bytes / 2
    assert total == sum(outputs * inputs for outputs, inputs in linear_shapes_of(config).values())
    assert total / 1e9 == pytest.approx(billions, abs=0.002)


def test_the_prediction_is_within_five_percent_of_every_training_on_a_card() -> None:
    spec = training_spec(KLEIN_4B)
    steps = {sum(step): step for step in recompute_steps(spec)}
    rows = [
        (row, re.search(r"fp8 weights( kept twice)?, (\d+) of 25 blocks recomputed", row["plan"] or ""))
        for row in json.loads((RESULTS / "dress_rehearsal.json").read_text())["rows"]
        if row["stage"] in ("train", "edit_train") and row["ended"]
    ]
    klein = [(row, found) for row, found in rows if found is not None]
    assert len(klein) >= 9
    for row, found in klein:
        name = "benchmarks/speed/klein_rank16.toml" if row["recipe"] == "klein_rank16" else row["recipe"]
        recipe, edits = (
            load_recipe(str(PROJECT / name) if name.endswith(".toml") else name),
            row["stage"] == "edit_train",
        )
        asked = recipe.editor.train if edits else recipe.train
        predicted = predict_gib(
            spec,
            storage="fp8",
            modulation="fp8",
            transposed=found[1] is not None,
            recompute=steps[int(found[2])],
            tokens=step_tokens(asked, 2 if edits else 1),
            adapter_weights=adapter_weights_of(KLEIN_4B, lora_ranks(linear_shapes_of(KLEIN_4B), asked.lora, TARGETS)),
            optimizer=asked.optimizer,
        )
        assert predicted == pytest.approx(row["peak_reserved_gib"], rel=0.05), row["case"]


@pytest.mark.parametrize(("gib", "fp8"), [(23.5, True), (15.5, True), (11.5, True), (11.5, False)])
def test_every_stage_has_a_plan_on_cards_of_24_16_and_12_gib(folder: Path, gib: float, fp8: bool) -> None:
    card = CardRoom(gib, multiplies_fp8=fp8)
    recipe = load_recipe("klein_character")
    plans = {plan.stage: plan for use in ("base", "editor") for plan in card_plans(folder, recipe, use, card)}
    assert set(plans) == {"enrich", "edit_train", "train", "generate, benchmark"}
    for plan in plans.values():
        assert plan.predicted_gib is not None and plan.predicted_gib <= gib, plan
        assert fp8 or "fp8" not in plan.text
    assert "encoder in bf16" in plans["enrich"].text


def test_references_count(folder: Path) -> None:
    recipe, card = TrainingRecipe(), CardRoom(23.5, multiplies_fp8=True)
    assert step_tokens(recipe, 1) == 4096 + 512 and step_tokens(recipe, 2) == 2 * 4096 + 512
    one, four = (
        drawing_memory(folder, KLEIN_4B, Largest(pictures * 4096 + 512, 1024**2), card).predicted_gib
        for pictures in (1, 5)
    )
    assert four > one


def test_what_does_not_fit_is_said_and_after_running_out_less_is_taken(folder: Path) -> None:
    largest = Largest(8704, 1024**2)
    plans = [
        drawing_memory(folder, KLEIN_4B, largest, CardRoom(23.5, multiplies_fp8=True), memory_level=level)
        for level in (0, 1)
    ]
    assert plans[1].predicted_gib <= 0.95 * plans[0].predicted_gib
    with pytest.raises(ResourceError, match=r"FLUX\.2 needs"):
        drawing_memory(folder, KLEIN_4B, largest, CardRoom(2.0, multiplies_fp8=True))


def test_int8_is_named_as_missing(folder: Path) -> None:
    shipped = load_recipe("klein_character")
    recipe = shipped.model_copy(update={"editor": EditorRecipe(storage="int8")})
    plans = card_plans(folder, recipe, "editor", CardRoom(23.5, multiplies_fp8=True))
    assert all("has no int8 weights" in plan.text and plan.predicted_gib is None for plan in plans)
    with pytest.raises(RecipeError):
        drawing_memory(folder, KLEIN_4B, Largest(1, 1), CardRoom(9.0, multiplies_fp8=True), wanted="int8")


def test_the_recipes_references_count_in_the_plan_of_edits(folder: Path) -> None:
    one = load_recipe("klein_character")
    four = one.model_copy(update={"enrich": one.enrich.model_copy(update={"references": 4})})
    card = CardRoom(23.5, multiplies_fp8=True)
    plans = [card_plans(folder, recipe, "editor", card) for recipe in (one, four)]
    first, more = (plan[0].text.partition(";")[0] for plan in plans)
    assert more > first and first.startswith("fp8 weights, pictures decoded whole, 7.")
    assert "encoder in bf16, 8.1 GiB before" in plans[0][0].text and plans[0][0].predicted_gib == pytest.approx(
        8.09, abs=0.01
    )
    assert plans[0][1].text != plans[1][1].text  # lessons may have as many
