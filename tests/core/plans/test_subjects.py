"""A recipe fits its subject's kind, and each kind is made with words of its own."""

import pytest

from flenwheel_core.base.errors import FlenwheelError, InputError
from flenwheel_core.plans.subjects import plan_of, usable_recipe


def test_a_recipe_of_the_other_kind_is_refused_with_a_remedy() -> None:
    with pytest.raises(InputError, match="one for styles") as for_styles:
        usable_recipe("nano_style", "person")
    assert "--kind style" in for_styles.value.remedy
    with pytest.raises(FlenwheelError, match="no \\[style\\] table") as for_characters:
        usable_recipe("nano", "style")
    assert "nano_style" in for_characters.value.remedy


def test_what_a_kind_is_made_with_can_be_used() -> None:
    for kind in ("person", "style"):
        assert usable_recipe(plan_of(kind).new.recipe, kind).name == plan_of(kind).new.recipe


def test_a_style_loads_no_editor() -> None:
    assert "editor" in plan_of("subject").models and "editor" not in plan_of("style").models
