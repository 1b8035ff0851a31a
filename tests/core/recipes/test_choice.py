"""What a recipe may ask of a choice, and what makes no sense."""

import pytest
from pydantic import ValidationError

from flenwheel_core.recipes.choice import ChoiceRecipe
from flenwheel_core.recipes.doubts import DoubtsRecipe
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.sense import nonsense


def test_the_last_state_at_full_strength_is_always_tried_and_comes_last() -> None:
    choice = ChoiceRecipe(states=(0.75, 0.5), strengths=(1.2, 0.8))
    assert choice.kept_steps(400) == (200, 300)
    tried = choice.tried(400)
    assert tried[-1] == (400, 1.0) and len(tried) == len(set(tried)) == 7
    assert ChoiceRecipe().tried(400) == ((400, 1.0),) and not ChoiceRecipe().on
    assert ChoiceRecipe(states=(0.999,)).kept_steps(10) == (), "no state beside the last one"
    assert choice.pictures(400) == 7 * 12 + 48 and ChoiceRecipe().pictures(400) == 0


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValidationError, match="each value once"):
        ChoiceRecipe(states=(0.5, 0.5))
    for wrong in ({"states": (1.0,)}, {"strengths": (0.0,)}, {"strengths": ()}, {"pick_pictures": 1}):
        with pytest.raises(ValidationError):
            ChoiceRecipe.model_validate(wrong)
    recipe = load_recipe("nano")
    dora = recipe.train.model_copy(update={"lora": recipe.train.lora.model_copy(update={"dora": True})})
    odd = recipe.model_copy(
        update={
            "train": dora,
            "choice": ChoiceRecipe(strengths=(0.8, 1.0)),
            "doubts": DoubtsRecipe(leave_out=True),
        }
    )
    said = " ".join(nonsense(odd, {}))
    assert "a DoRA cannot be kept" in said and "set doubts.look" in said and not nonsense(recipe, {})
