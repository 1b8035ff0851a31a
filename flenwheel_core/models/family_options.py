"""Choices that depend on the family of a model: options of its own for training, and keys that its trainer or editor does not read."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from flenwheel_core.adapters.targets import ModelLinears
from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import RecipeError
from flenwheel_core.models.family import Family
from flenwheel_core.models.registry import load_entry
from flenwheel_core.recipes.model import EnrichRecipe
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe


def option_problems(family: Family, recipe: TrainingRecipe) -> list[str]:
    """A sentence for each choice under [train] that this family cannot take or does not read."""
    found = _idle("train", family, family.idle_keys, recipe)
    if not family.options:
        return [*found, *(f"train.options.{key}: {family.name} has no options of its own" for key in recipe.options)]
    try:
        options_of(family, recipe)
    except ValidationError as error:
        for item in error.errors():
            key = ".".join(str(part) for part in item["loc"])
            known = ", ".join(load_entry(family.options).model_fields)
            said = f"unknown; {family.name} knows {known}" if item["type"] == "extra_forbidden" else item["msg"]
            found.append(f"train.options.{key}: {said}")
    return found


def lora_problems(family: Family, folder: Path, table: str, recipe: LoraRecipe) -> list[str]:
    """A sentence if the adapter of a recipe sits on nothing, or on blocks that the model in `folder` has not. Nothing is loaded."""
    if not family.linears:
        return []
    try:
        model_linears(family, folder).lora_parameters(recipe)
    except RecipeError as error:
        return [f"{table}.lora: {error.what} {error.why} {error.remedy}"]
    return []


def model_linears(family: Family, folder: Path) -> ModelLinears:
    """What a LoRA may sit on in this model of a family that says it (`Family.linears`)."""
    found: ModelLinears = load_entry(family.linears)(folder)
    return found


def edit_problems(family: Family, recipe: EnrichRecipe) -> list[str]:
    """A sentence for each choice under [enrich] that this family's editor does not read."""
    return _idle("enrich", family, family.idle_edit_keys, recipe)


def options_of(family: Family, recipe: TrainingRecipe) -> Document:
    """The family's options as its own document, with its defaults. Raises ValidationError; `option_problems` says it in words."""
    document: Document = load_entry(family.options).model_validate(recipe.options)
    return document


def _idle(table: str, family: Family, keys: Mapping[str, str], recipe: Document) -> list[str]:
    return [
        f"{table}.{key}: {family.name} does not read it; {instead}"
        for key, instead in keys.items()
        if _is_set(recipe, key)
    ]


def _is_set(recipe: Document, key: str) -> bool:
    """True if the recipe asks for something else than the default."""
    field = type(recipe).model_fields[key]
    return bool(getattr(recipe, key) != field.get_default(call_default_factory=True))
