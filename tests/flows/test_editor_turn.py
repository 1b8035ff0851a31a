"""A turn of Flywheel 2 asks for what its recipe says."""

from pathlib import Path

from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.store import Store
from flows.editor_turn import ChosenLessons, EditorTurn


def test_training_takes_the_choices_of_the_recipe(tmp_path: Path) -> None:
    recipe = load_recipe("nano")
    editor = recipe.editor.model_copy(update={"anchor": 0.25, "corrections_weight": 3.0, "seed": 9})
    recipe = recipe.model_copy(update={"editor": editor})
    turn = EditorTurn(Store((tmp_path / "store").as_uri()), recipe, None, "0123456789")
    request = turn.train_request(ChosenLessons(trained="a" * 64, held_out="b" * 64))
    assert (request.triplets, request.editor, request.recipe) == ("a" * 64, recipe.models.editor, editor.train)
    assert (request.distilled_guidance, request.anchor, request.mistake_weight) == (2.5, 0.25, 32.0)
    assert (request.corrections_weight, request.seed) == (3.0, 9)
