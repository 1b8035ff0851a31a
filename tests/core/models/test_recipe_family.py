"""A recipe says for which family its choices were made: a base of another one is refused before anything is fetched or loaded."""

from pathlib import Path

import pytest

from flenwheel_core.base.errors import RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.models.known_models import KNOWN_MODELS
from flenwheel_core.models.pinning import pin_recipe
from flenwheel_core.models.recipe_family import known_family, require_family
from flenwheel_core.models.references import ModelRole, hub_reference
from flenwheel_core.models.registry import families
from flenwheel_core.plans.recipe_check import recipe_problems
from flenwheel_core.recipes.loading import list_recipes, load_recipe
from flenwheel_core.recipes.model import Recipe


def recipe(family: str | None, base: str = "nano") -> Recipe:
    known = load_recipe("nano")
    return known.model_copy(
        update={"family": family, "models": known.models.model_copy(update={"base": base})},
    )


@pytest.mark.parametrize("family", [None, "flux", "FLUX.1", "flux.1"])
def test_a_base_of_the_family_is_taken(settings: Settings, family: str | None) -> None:
    asked = recipe(family)
    require_family(asked, settings)
    assert recipe_problems(asked, settings) == []
    assert pin_recipe(asked, settings, ("base",)).family == family


def test_a_base_of_another_family_is_refused_by_the_check_and_before_a_run_begins(settings: Settings) -> None:
    asked = recipe("Z-Image")
    with pytest.raises(RecipeError) as refused:
        pin_recipe(asked, settings, ("base",))
    error = refused.value
    assert "nano is of another family" in error.what
    assert "it is FLUX.1" in str(error.why) and "made for Z-Image" in str(error.why)
    assert 'set family = "FLUX.1"' in str(error.remedy)
    (problem,) = recipe_problems(asked, settings)
    assert problem.startswith("family: ") and "Z-Image" in problem
    assert pin_recipe(asked, settings, ("reader",)).models.base == "nano", "only work with the base asks"


def test_a_known_base_on_the_hub_is_refused_before_it_is_fetched(settings: Settings, tmp_path: Path) -> None:
    asked = recipe("FLUX.1", "Tongyi-MAI/Z-Image@main")
    elsewhere = settings.model_copy(update={"models": tmp_path / "models"})
    with pytest.raises(RecipeError, match="another family"):
        pin_recipe(asked, elsewhere, ("base",))
    assert not list((tmp_path / "models").rglob("*.safetensors"))
    require_family(recipe("FLUX.1", "somebody/model@main"), settings)  # nobody knows what it is


def test_a_base_that_no_family_knows_is_left_to_the_stages(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    require_family(recipe("My own", str(tmp_path)), settings)


def test_the_word_of_earlier_versions_says_nothing(settings: Settings) -> None:
    require_family(recipe("flux", "Tongyi-MAI/Z-Image@main"), settings)


def test_a_base_that_is_not_there_is_named_once(settings: Settings) -> None:
    (problem,) = recipe_problems(recipe("FLUX.1", "/nowhere"), settings)
    assert "There is no model folder /nowhere" in problem


SIBLINGS = {"nano_klein": "FLUX.2", "nano_zimage": "Z-Image"}


def test_known_models_and_shipped_recipes_name_real_families() -> None:
    names = {family.name for family in families()}
    said = {known.family for known in KNOWN_MODELS.values()}
    assert said - {""} <= names, "one without a family makes nothing: it only tells how pictures are"
    for name in list_recipes():
        shipped = load_recipe(name)
        hub = hub_reference(shipped.models.base)
        of_siblings = SIBLINGS.get(shipped.models.base)
        assert shipped.family == (of_siblings if hub is None else KNOWN_MODELS[hub[0]].family), name


@pytest.mark.usefixtures("siblings")
@pytest.mark.parametrize("name", ["nano_klein", "nano_zimage"])
def test_siblings_are_of_the_family_that_their_recipes_name(name: str, settings: Settings) -> None:
    require_family(load_recipe(name), settings)
    assert known_family(name, ModelRole.GENERATOR, settings) == SIBLINGS[name]
