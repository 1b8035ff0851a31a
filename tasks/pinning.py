"""Pinning models in a run: what is fetched or hashed for it is told in the run's log."""

from collections.abc import Collection, Sequence

from flenwheel_core.base.progress import hearing
from flenwheel_core.base.settings import Settings
from flenwheel_core.models.pinning import ModelUse, pin_recipe
from flenwheel_core.plans.ingest_request import ingest_models, ingest_recipe
from flenwheel_core.plans.recipe_check import require_edit_choices
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.ingest import SourceFile
from tasks.progress_artifact import say


def pinned(recipe: Recipe, uses: Collection[ModelUse]) -> Recipe:
    """The recipe with the models in `uses` pinned, fetched first where they are not here.

    Raises MissingWeightsError, and RecipeError for edits that the editor cannot make: a run begins with neither.
    """
    settings = Settings()
    with hearing(say):
        found = pin_recipe(recipe, settings, uses)
    if "editor" in uses:
        require_edit_choices(found, settings)
    return found


def pinned_snapshot(recipe: Recipe, uses: Collection[ModelUse], files: Sequence[SourceFile]) -> Recipe:
    """The recipe of a turn that reads these files, the models in `uses` and those of reading pinned. A captioner that was left out on this
    machine stays in it as it was named: only reading the pictures does without. Raises as `pinned` does."""
    looks = ingest_models(recipe, files)
    if for_ingest(recipe, files).models.captioner is None:
        looks = tuple(use for use in looks if use != "captioner")
    return pinned(recipe, {*uses, *looks})


def for_ingest(recipe: Recipe, files: Sequence[SourceFile]) -> Recipe:
    """The recipe without a captioner that was left out on this machine, which the run's log says."""
    with hearing(say):
        return ingest_recipe(recipe, files, Settings())
