"""The choices of a head that have no option of the command, from a TOML file."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from flenwheel_core.base.errors import NotFoundError
from flenwheel_core.base.given_path import is_file
from flenwheel_core.base.settings_sources import read_toml
from flenwheel_core.recipes.injection import InjectionRecipe
from flenwheel_core.recipes.loading import described_problems, unusable

OPTIONS: Mapping[str, Mapping[str, str]] = {
    "head": {"place": "place", "tokens": "tokens", "words": "words"},
    "learning": {
        "epochs": "epochs",
        "batch_size": "batch-size",
        "learning_rate": "lr",
        "stages": "stages",
        "oracle_steps": "oracle-steps",
    },
}
"""What has an option, which alone says it: by table and key."""


def load_head_recipe(path: Path) -> InjectionRecipe:
    """The choices in a file with the tables [head] and [learning]. Raises NotFoundError, and RecipeError that names each wrong key."""
    if not is_file(path):
        raise NotFoundError(f"There is no file {path}.", remedy="Name a TOML file with [head] and [learning].")
    content = read_toml(path)
    problems = [
        f"{table}.{key}: this is said by --{OPTIONS[table][key]}"
        for table, found in content.items()
        if table in OPTIONS and isinstance(found, dict)
        for key in found
        if key in OPTIONS[table]
    ]
    try:
        recipe = InjectionRecipe.model_validate(content)
    except ValidationError as error:
        raise unusable(str(path), [*problems, *described_problems(error, InjectionRecipe)]) from error
    if problems:
        raise unusable(str(path), problems)
    return recipe
