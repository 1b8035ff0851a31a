"""A family's own choices of training: checked by its document, and keys that it does not read are refused in words."""

import pytest

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.models.family import Family
from flenwheel_core.models.family_options import option_problems, options_of
from flenwheel_core.models.registry import families
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.stages.train import require_options


class Options(Document):
    strength: float = 1.0
    layers: int


PLAIN = Family("Plain", ("PlainPipeline",), idle_keys={"guidance": "it has no guidance embedding; leave it out"})
OWN = Family("Own", ("OwnPipeline",), options=f"{__name__}:Options")


@pytest.mark.parametrize(
    ("family", "changes", "said"),
    [
        (PLAIN, {}, []),
        (
            PLAIN,
            {"guidance": 3.5},
            ["train.guidance: Plain does not read it; it has no guidance embedding; leave it out"],
        ),
        (PLAIN, {"options": {"strength": 2}}, ["train.options.strength: Plain has no options of its own"]),
        (OWN, {"options": {"layers": 2}, "guidance": 3.5}, []),
        (OWN, {}, ["train.options.layers: Field required"]),
        (
            OWN,
            {"options": {"layers": 2, "strenght": 1}},
            ["train.options.strenght: unknown; Own knows strength, layers"],
        ),
    ],
)
def test_each_mistake_is_a_sentence(family: Family, changes: dict[str, object], said: list[str]) -> None:
    assert option_problems(family, TrainingRecipe.model_validate(changes)) == said


def test_options_come_with_the_familys_defaults() -> None:
    assert options_of(OWN, TrainingRecipe(options={"layers": 2})) == Options(layers=2)


def test_requests_without_options_are_named_as_before() -> None:
    assert b"options" not in TrainingRecipe().to_bytes()


def test_the_stage_refuses_before_anything_loads(settings: Settings) -> None:
    with pytest.raises(RecipeError, match="cannot be trained so") as caught:
        require_options("nano", TrainingRecipe(options={"strength": 2}), settings)
    assert "FLUX.1 has no options of its own" in caught.value.why


def test_idle_keys_of_all_families_are_keys_of_the_recipe() -> None:
    assert all(key in TrainingRecipe.model_fields for family in families() for key in family.idle_keys)
