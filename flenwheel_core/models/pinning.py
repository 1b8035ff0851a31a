"""Pins a recipe's model references to the very bytes before a turn begins, so that its requests can be made again."""

from collections.abc import Collection
from typing import Literal

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.base.settings import Settings
from flenwheel_core.models.hub import HubUnreachableError, ask_hub, find_here, require_access, require_disk
from flenwheel_core.models.hub_file import pin_file
from flenwheel_core.models.left_out import refuse_left_out
from flenwheel_core.models.recipe_family import require_family
from flenwheel_core.models.references import ModelRole, hub_reference, is_commit, pin_model
from flenwheel_core.recipes.model import Recipe

ModelUse = Literal["base", "editor", "captioner", "verifier", "reader", "content", "csd"]
"""A key of the recipe's [models] table."""

ROLES: dict[ModelUse, ModelRole] = {
    "base": ModelRole.GENERATOR,
    "editor": ModelRole.EDITOR,
    "captioner": ModelRole.CAPTIONER,
    "verifier": ModelRole.VERIFIER,
    "reader": ModelRole.READER,
    "content": ModelRole.VERIFIER,
    "csd": ModelRole.VERIFIER,
}
TRAINING_MODELS: tuple[ModelUse, ...] = ("base",)
BENCHMARK_MODELS: tuple[ModelUse, ...] = ("base", "verifier", "reader", "content", "csd")
EDITOR_TURN_MODELS: tuple[ModelUse, ...] = ("editor", "verifier", "reader")


def pin_recipe(recipe: Recipe, settings: Settings, uses: Collection[ModelUse] = tuple(ROLES)) -> Recipe:
    """The recipe with pinned references of the models in `uses`; the others stay as they are and are not looked for.

    Fetches hub models that are not here yet, once the disk and the access to all of them are known to be there, and with the editor the
    LoRA files that the recipe names on the Hub. `face` stays as it is: its version is part of every fingerprint and every score.

    Raises MissingWeightsError, also for a model that a person left out when fetching, ResourceError, and RecipeError for a base of another
    family.
    """
    references = {use: reference for use in uses if (reference := chosen(recipe, use)) is not None}
    if "base" in references:
        require_family(recipe, settings)
    refuse_left_out(references.items(), settings)
    _look_ahead(references.values(), settings)
    pinned: dict[str, str] = {use: pin_model(reference, ROLES[use], settings) for use, reference in references.items()}
    changed: dict[str, object] = {"models": recipe.models.model_copy(update=pinned)}
    if "editor" in uses:
        loras = tuple(lora.model_copy(update={"file": pin_file(lora.file, settings)}) for lora in recipe.enrich.loras)
        changed["enrich"] = recipe.enrich.model_copy(update={"loras": loras})
    found = recipe.model_copy(update=changed)
    if "base" in references:
        require_family(found, settings)  # what was fetched may be another than was thought
    return found


def chosen(recipe: Recipe, use: ModelUse) -> str | None:
    """The reference of a model that is loaded from a folder; None for `face` and `style`, and for what the recipe leaves out."""
    reference: str | None = getattr(recipe.models, use)
    return None if reference in (None, "face", "style") or str(reference).startswith("face:") else reference


def _look_ahead(references: Collection[str], settings: Settings) -> None:
    """Refuses before the first of several models is fetched what would stop a later one."""
    unfetched = []
    for hub_id, revision in sorted({found for reference in references if (found := hub_reference(reference))}):
        if is_commit(revision) and find_here(hub_id, revision, settings) is not None:
            continue
        try:
            model = ask_hub(hub_id, revision, settings)
            require_access(model)
        except HubUnreachableError:
            continue  # what is here is taken; what is not says so when it is pinned
        except MissingWeightsError:
            if find_here(hub_id, revision, settings) is None:
                raise
            continue
        unfetched.append(model)
    require_disk(unfetched, settings)
