import pytest
from pydantic import ValidationError

from flenwheel_core.recipes.editor import EditorRecipe
from flenwheel_core.recipes.train import TrainingRecipe


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"resolution": 1000}, "try 992"),
        ({"bucket_step": 40}, "multiple of 16"),
        ({"steps": 10, "warmup_steps": 10, "schedule": "cosine"}, "leaves nothing"),
        ({"optimizer": "prodigy"}, "learning_rate = 1.0"),
        ({"learning_rate": 1.0}, "far too high"),
        ({"weight_format": "nf4", "lora": {"dora": True}}, "DoRA"),
        ({"sigma": {"shift": -1.0}}, "above 0"),
        ({"betas": [0.9, 1.0]}, "betas"),
        ({"lora": {"rank": 0}}, "greater than or equal to 1"),
        ({"lora": {"targets": []}}, "at least 1"),
        ({"optimiser": "adamw"}, "Extra inputs"),
    ],
)
def test_wrong_and_impossible_choices_are_refused_with_the_reason(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingRecipe.model_validate(wrong)


def test_a_grown_pool_is_trained_on_for_longer_if_epochs_are_asked_for() -> None:
    recipe = TrainingRecipe(steps=400, batch_size=4, gradient_accumulation=2)
    assert recipe.for_pictures(1000) == recipe
    wanted = recipe.model_copy(update={"min_epochs": 28.0})
    assert [wanted.for_pictures(number).steps for number in (50, 114, 115, 201)] == [400, 400, 403, 704]
    assert wanted.model_copy(update={"hosts": 2}).for_pictures(300).steps == 525
    assert wanted.model_copy(update={"gpus": 2}).for_pictures(300).steps == 525, (
        "two cards train twice the items a step"
    )


def test_every_choice_says_what_it_is() -> None:
    def undescribed(model: type) -> list[str]:
        missing = []
        for name, field in model.model_fields.items():  # type: ignore[attr-defined]
            if not field.description:
                missing.append(name)
            if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
                missing += undescribed(field.annotation)
        return missing

    assert undescribed(TrainingRecipe) == []


def test_a_recipe_that_says_nothing_of_cards_keeps_its_digest_and_the_editor_refuses_them() -> None:
    assert "gpus" not in TrainingRecipe().model_dump()
    assert TrainingRecipe(gpus=2).model_dump()["gpus"] == 2
    assert "hosts" not in TrainingRecipe(gpus=2).model_dump()
    assert TrainingRecipe(hosts=3, gpus=2).model_dump()["hosts"] == 3 and TrainingRecipe(hosts=3, gpus=2).processes == 6
    for several in ("gpus", "hosts"):
        with pytest.raises(ValidationError, match="one card"):
            EditorRecipe.model_validate({"train": {several: 2}})
