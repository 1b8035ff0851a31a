"""Pinning models in a run: what is fetched or hashed for it is told in the run's log."""

from collections.abc import Collection

from flenwheel_core.base.progress import hearing
from flenwheel_core.base.settings import Settings
from flenwheel_core.models.pinning import ModelUse, pin_recipe
from flenwheel_core.recipes.model import Recipe
from tasks.progress_artifact import say


def pinned(recipe: Recipe, uses: Collection[ModelUse]) -> Recipe:
    """The recipe with the models in `uses` pinned, fetched first where they are not here. Raises MissingWeightsError."""
    with hearing(say):
        return pin_recipe(recipe, Settings(), uses)
