"""A recipe that extends another: its choices over the other's, and every mistake in words."""

from pathlib import Path

import pytest

from flenwheel_core.base.errors import RecipeError
from flenwheel_core.recipes.loading import diff_recipes, load_recipe


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_tables_are_merged_and_everything_else_is_replaced(tmp_path: Path) -> None:
    text = """
    name = "mine"
    description = "mine"
    extends = "nano"
    [train]
    steps = 77
    [values]
    background = ["on the moon"]
    """
    nano, mine = load_recipe("nano"), load_recipe(written(tmp_path, "mine.toml", text))
    changed = {line.split(":")[0] for line in diff_recipes(nano, mine)}
    assert changed == {"name", "description", "train.steps", "values.background"}
    assert mine.values["background"] == ("on the moon",) and mine.values.keys() == nano.values.keys()


def test_few_steps_are_the_default_and_forty_the_variant() -> None:
    few, forty = load_recipe("flux_character_24gb"), load_recipe("flux_character_40steps")
    assert (few.enrich.sampler.steps, few.enrich.sampler.true_cfg, few.enrich.shift) == (8, 1.0, 3.0)
    assert (forty.enrich.sampler.steps, forty.enrich.sampler.true_cfg, forty.enrich.shift) == (40, 4.0, None)
    assert len(few.enrich.loras) == 1 and not forty.enrich.loras
    assert few.enrich.templates == forty.enrich.templates and few.enrich.sampler.width == 1024


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('extends = "{itself}"', "extends itself"),
        ("extends = 3", "extends 3"),
        ('extends = "nanno"', "There is no recipe 'nanno'"),
        ('extends = "nano"\nnam = "x"', "unknown key; did you mean name"),
    ],
)
def test_mistakes_are_said(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("{itself}", str(path)))
    with pytest.raises(Exception, match=said):
        load_recipe(str(path))


def test_two_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    written(tmp_path, "a.toml", f'extends = "{tmp_path}/b.toml"')
    other = written(tmp_path, "b.toml", f'extends = "{tmp_path}/a.toml"')
    with pytest.raises(RecipeError, match="extends itself"):
        load_recipe(other)
