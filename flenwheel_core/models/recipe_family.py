"""A recipe may say for which family its choices were made; its base must then be of that family."""

from flenwheel_core.base.errors import InputError, RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.models.hub import find_here
from flenwheel_core.models.known_models import KNOWN_MODELS
from flenwheel_core.models.references import ModelRole, hub_reference, resolve_model
from flenwheel_core.models.registry import family_of
from flenwheel_core.recipes.model import EARLIER_FAMILY, Recipe


def require_family(recipe: Recipe, settings: Settings) -> None:
    """Raises RecipeError for a base of another family than the recipe's; nothing is fetched or loaded.

    Says nothing of a base that is not here and that nobody knows, nor of one that no family knows: a stage of one's own may read it.
    """
    if recipe.family is None or recipe.family == EARLIER_FAMILY:
        return
    found = known_family(recipe.models.base, ModelRole.GENERATOR, settings)
    if found is None or found.casefold() == recipe.family.casefold():
        return
    raise RecipeError(
        f"The base {recipe.models.base} is of another family than the recipe.",
        why=f"it is {found}, and the recipe's choices were made for {recipe.family}, as its key `family` says.",
        remedy=f'Name a base of {recipe.family}, or go through [train] and [generate] and set family = "{found}".',
    )


def known_family(reference: str, role: ModelRole, settings: Settings) -> str | None:
    """The family that its folder says, or that is known of a model that must still be fetched; None if nobody knows."""
    hub = hub_reference(reference)
    folder = resolve_model(reference, role, settings) if hub is None else find_here(*hub, settings)
    if folder is None:
        known = KNOWN_MODELS.get(hub[0]) if hub is not None else None
        return known.family if known is not None else None
    try:
        return family_of(folder).name
    except InputError:
        return None
