"""Recipes as TOML files: found by name or path, checked, compared."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ValidationError

from flenwheel_core.base.errors import NotFoundError, RecipeError
from flenwheel_core.base.given_path import given_path, is_file
from flenwheel_core.base.ids import Json
from flenwheel_core.base.settings_sources import read_toml
from flenwheel_core.recipes.idle_keys import idle_keys, is_idle
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.recipes.sense import nonsense

RECIPES = Path(__file__).with_name("shipped")
"""The recipes that come with the project."""
DEFAULT_RECIPE = "flux_character_24gb"
"""What a new character's turns use where nothing is chosen."""


def list_recipes() -> dict[str, Path]:
    """The recipes that come with the project, by name."""
    return {path.stem: path for path in sorted(RECIPES.glob("*.toml"))}


def find_recipe(name_or_path: str) -> Path:
    """The file of a recipe; raises NotFoundError with the nearest name."""
    known = list_recipes()
    if name_or_path in known:
        return known[name_or_path]
    path = given_path(name_or_path)
    if path.suffix == ".toml" and is_file(path):
        return path
    near = difflib.get_close_matches(name_or_path, known, n=1)
    raise NotFoundError(
        f"There is no recipe {name_or_path!r}.",
        why=f"recipes here: {', '.join(known) or 'none'}.",
        remedy=f"Did you mean {near[0]}?" if near else "Give one of these names, or the path of a .toml file.",
    )


def lasting_name(name_or_path: str) -> str:
    """A recipe's name, or the whole path of its file: workers run in other folders than the person who named it."""
    return name_or_path if name_or_path in list_recipes() else str(given_path(name_or_path).absolute())


def load_recipe(name_or_path: str) -> Recipe:
    """The recipe of that name or file; raises RecipeError that names the wrong key and the nearest right one."""
    path = find_recipe(name_or_path)
    return parse_recipe(recipe_content(path), str(path))


def recipe_content(path: Path, heirs: tuple[Path, ...] = ()) -> dict[str, Json]:
    """The choices in a recipe file, over those of the recipe that it `extends`; tables are merged, everything else is replaced."""
    content = read_toml(path)
    parent = content.pop("extends", None)
    if parent is None:
        return content
    if not isinstance(parent, str):
        raise RecipeError(
            f"{path} extends {parent!r}.", remedy="Write the name of a recipe, or the path of a .toml file."
        )
    found = find_recipe(parent)
    if found in (path, *heirs):
        raise RecipeError(
            f"{path} extends itself.", why=f"{parent} leads back to it.", remedy="Take `extends` out of one of them."
        )
    return _over(recipe_content(found, (path, *heirs)), content)


def _over(below: dict[str, Json], above: dict[str, Json]) -> dict[str, Json]:
    merged = dict(below)
    for key, value in above.items():
        standing = merged.get(key)
        merged[key] = _over(standing, value) if isinstance(standing, dict) and isinstance(value, dict) else value
    return merged


def parse_recipe(content: dict[str, Json], where: str) -> Recipe:
    """The recipe in a parsed TOML document; raises RecipeError that names every choice that is wrong, idle or impossible."""
    problems = idle_keys(content)
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        problems += described_problems(error, Recipe)
        raise unusable(where, problems) from error
    problems += nonsense(recipe, content)
    if problems:
        raise unusable(where, problems)
    return recipe


def unusable(where: str, problems: Sequence[str]) -> RecipeError:
    """The error that lists all problems of a recipe."""
    return RecipeError(f"{where} is not a usable recipe.", why="\n  ".join(["", *problems]).strip())


def described_problems(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """A line for each choice that is wrong; an unknown key is told with the nearest one that the model has there."""
    return [_describe(item["loc"], item["type"], item["msg"], model) for item in error.errors()]


def _describe(location: tuple[int | str, ...], kind: str, message: str, model: type[BaseModel]) -> str:
    place = ".".join(str(part) for part in location)
    if kind != "extra_forbidden":
        return f"{place}: {message}"
    near = difflib.get_close_matches(str(location[-1]), _keys_at(location[:-1], model), n=1, cutoff=0.5)
    return f"{place}: unknown key" + (f"; did you mean {near[0]}?" if near else "")


def _keys_at(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    for part in location:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = _model_in(field.annotation) if field is not None else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def diff_recipes(first: Recipe, second: Recipe) -> list[str]:
    """One line for each choice that differs: `key: first -> second`."""
    left, right = dict(_flatten(first.model_dump(mode="json"))), dict(_flatten(second.model_dump(mode="json")))
    return [
        f"{key}: {left.get(key)!r} -> {right.get(key)!r}"
        for key in sorted(left | right)
        if left.get(key) != right.get(key)
    ]


def _flatten(value: Json, prefix: str = "") -> "list[tuple[str, Json]]":
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in _flatten(inner, f"{prefix}.{key}" if prefix else key)]
    if isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        return [pair for index, inner in enumerate(value) for pair in _flatten(inner, f"{prefix}[{index}]")]
    return [(prefix, value)]


def describe_fields(model: type[BaseModel] = Recipe, prefix: str = "") -> list[tuple[str, str, str]]:
    """Every choice of a recipe: its key, its default and what it means."""
    rows = []
    for name, field in model.model_fields.items():
        if is_idle(f"{prefix}{name}"):
            continue
        inner = _model_in(field.annotation)
        if inner is not None and isinstance(field.annotation, type):
            rows += describe_fields(inner, f"{prefix}{name}.")
            continue
        default = "required" if field.is_required() else repr(field.get_default(call_default_factory=True))
        rows.append((f"{prefix}{name}", default, field.description or ""))
    return rows
