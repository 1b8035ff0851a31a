"""Choices of a training run that depend on the family of the base model: its own options, and keys that its trainer does not read."""

from pydantic import ValidationError

from flenwheel_core.base.document import Document
from flenwheel_core.models.family import Family
from flenwheel_core.models.registry import load_entry
from flenwheel_core.recipes.train import TrainingRecipe


def option_problems(family: Family, recipe: TrainingRecipe) -> list[str]:
    """A sentence for each choice under [train] that this family cannot take or does not read."""
    found = [
        f"train.{key}: {family.name} does not read it; {instead}"
        for key, instead in family.idle_keys.items()
        if _is_set(recipe, key)
    ]
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


def options_of(family: Family, recipe: TrainingRecipe) -> Document:
    """The family's options as its own document, with its defaults. Raises ValidationError; `option_problems` says it in words."""
    document: Document = load_entry(family.options).model_validate(recipe.options)
    return document


def _is_set(recipe: TrainingRecipe, key: str) -> bool:
    """True if the recipe asks for something else than the default."""
    field = TrainingRecipe.model_fields[key]
    return bool(getattr(recipe, key) != field.get_default(call_default_factory=True))
