"""Recipes: every shipped one loads, every field is described, mistakes are named with the nearest right word."""

from pathlib import Path

import pytest

from flenwheel_core.base.errors import NotFoundError, RecipeError
from flenwheel_core.recipes.loading import describe_fields, diff_recipes, lasting_name, list_recipes, load_recipe


@pytest.mark.parametrize("name", sorted(list_recipes()))
def test_shipped_recipes_load(name: str) -> None:
    assert load_recipe(name).name == name


def test_every_field_is_described() -> None:
    assert [key for key, _, description in describe_fields() if len(description) < 10] == []


def changed(tmp_path: Path, old: str, new: str) -> str:
    text = list_recipes()["nano"].read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1))
    return str(path)


def test_unknown_key_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"train\.batchsize: unknown key; did you mean batch_size"):
        load_recipe(changed(tmp_path, "batch_size = 4", "batchsize = 4"))


def test_wrong_value_names_its_key(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"enrich\.target_images"):
        load_recipe(changed(tmp_path, "target_images = 50", 'target_images = "many"'))


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="line"):
        load_recipe(changed(tmp_path, "[models]", "[models"))


def test_unknown_recipe_gets_a_suggestion() -> None:
    with pytest.raises(NotFoundError, match="Did you mean nano"):
        load_recipe("nanoo")


def test_diff_names_the_choices_that_differ(tmp_path: Path) -> None:
    other = load_recipe(changed(tmp_path, "batch_size = 4", "batch_size = 2"))
    assert diff_recipes(load_recipe("nano"), other) == ["train.batch_size: 4 -> 2"]


def test_a_recipe_file_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path(changed(tmp_path, "batch_size = 4", "batch_size = 2"))
    monkeypatch.chdir(tmp_path)
    lasting = lasting_name(file.name)
    monkeypatch.chdir("/")
    assert load_recipe(lasting).train.batch_size == 2 and lasting_name("nano") == "nano"
