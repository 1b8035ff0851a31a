"""Pins a recipe's model references to the very bytes before a turn begins, so that its requests can be made again."""

from flenwheel_core.families.references import ModelRole, pin_model
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.settings import Settings

_ROLES = {
    "base": ModelRole.GENERATOR,
    "editor": ModelRole.EDITOR,
    "captioner": ModelRole.CAPTIONER,
    "verifier": ModelRole.VERIFIER,
    "reader": ModelRole.READER,
}


def pin_recipe(recipe: Recipe, settings: Settings) -> Recipe:
    """The recipe with pinned model references. Fetches hub models that are not here yet; raises MissingWeightsError.

    `face` stays as it is: its version is part of every fingerprint and every score.
    """
    pinned = {}
    for field, role in _ROLES.items():
        reference = getattr(recipe.models, field)
        if reference is not None and not reference.startswith("face"):
            pinned[field] = pin_model(reference, role, settings)
    return recipe.model_copy(update={"models": recipe.models.model_copy(update=pinned)})
