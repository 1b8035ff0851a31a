"""The recipes for FLUX.2 klein: one model for both wheels, and storage left to the card."""

import pytest

from flenwheel_core.models.family_options import option_problems
from flenwheel_core.models.flux2.family import FAMILY
from flenwheel_core.recipes.editor import EditorRecipe
from flenwheel_core.recipes.loading import load_recipe


def test_klein_is_base_and_editor_in_one_download() -> None:
    recipe = load_recipe("klein_character")
    assert recipe.models.base == recipe.models.editor and "FLUX.2-klein-base-4B" in recipe.models.base
    assert option_problems(FAMILY, recipe.train) == [] and not recipe.enrich.loras


def test_klein_edits_for_another_base() -> None:
    recipe, parent = load_recipe("klein_edit"), load_recipe("flux_character_40steps")
    assert recipe.models.base == parent.models.base and "klein" in recipe.models.editor
    assert recipe.train == parent.train


@pytest.mark.parametrize(("name", "rehearsed_only"), [("klein_character", True), ("klein_edit", False)])
def test_they_say_how_far_a_card_has_run_them_and_leave_the_storage_to_it(name: str, rehearsed_only: bool) -> None:
    recipe = load_recipe(name)
    assert rehearsed_only is ("with random weights only" in recipe.description)
    assert recipe.editor.storage is None and load_recipe("flux_character_40steps").editor.storage == "nf4"


def test_auto_is_a_word_for_unset() -> None:
    assert EditorRecipe.model_validate({"storage": "auto"}) == EditorRecipe()
