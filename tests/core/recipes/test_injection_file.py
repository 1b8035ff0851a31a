"""The choices of a head from a file: what is wrong in it is named, and what has an option is left to it."""

import re
from pathlib import Path

import pytest

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import NotFoundError, RecipeError
from flenwheel_core.recipes.injection import HeadRecipe, InjectionRecipe, LearningRecipe
from flenwheel_core.recipes.injection_file import OPTIONS, load_head_recipe

DOCS = Path(__file__).parents[3] / "docs" / "injection.md"


def test_the_file_of_the_docs_is_one(tmp_path: Path) -> None:
    block = re.search(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert block is not None
    file = tmp_path / "head.toml"
    file.write_text(block[1])
    found = load_head_recipe(file)
    assert (found.head.cells, found.learning.sigma.logit_mean, found.learning.oracle_rate) == (3, 0.7, 0.005)
    file.write_text("\n".join(line.removeprefix("# ") for line in block[1].splitlines() if "also" not in line))
    assert load_head_recipe(file).head.features == "hidden", "what is a comment there can be said, too"
    every = {*HeadRecipe.model_fields, *LearningRecipe.model_fields}
    for name in every - {key for table in OPTIONS.values() for key in table}:
        assert name in block[1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[head]\ncels = 2", "head.cels: unknown key; did you mean cells?"),
        ("[learnin]\ncosine = 1", "learnin: unknown key; did you mean learning?"),
        ("[head]\ncells = 0", "head.cells"),
        ("[learning]\nsigma = { logit_maen = 1.0 }", "did you mean logit_mean?"),
        ("[learning]\nlearning_rate = 0.1", "learning.learning_rate: this is said by --lr"),
        ("[head]\nplace = 'all'", "head.place: this is said by --place"),
        ("head = 3", "head"),
        ("[head", "is no TOML file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "head.toml"
    file.write_text(content)
    with pytest.raises(RecipeError) as refused:
        load_head_recipe(file)
    assert said in refused.value.message


def test_no_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="There is no file"):
        load_head_recipe(tmp_path / "none.toml")


def test_every_option_is_of_a_field() -> None:
    for table, keys in OPTIONS.items():
        model = InjectionRecipe.model_fields[table].annotation
        assert isinstance(model, type) and issubclass(model, Document)
        assert keys.keys() <= model.model_fields.keys()
