"""Opens a turn: its number, and the recipe with every model pinned to its very bytes."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flenwheel_core.ingest_request import ingest_models
from flenwheel_core.library import Library, TurnOpened
from flenwheel_core.pinning import ROLES, ModelUse, pin_recipe
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.settings import Settings
from flenwheel_core.store import Store


@task(name="open turn", task_run_name="open a turn of {character}", cache_policy=NO_CACHE, persist_result=False)
def open_turn(character: str, recipe: str | None) -> TurnOpened:
    """The turn of this flow run. A replay gets the number and the recipe it began with, whatever the recipe's file says now."""
    store = open_store()
    library = Library(store)
    known = library.usable_character(character)
    standing = next((turn for turn in library.turns(character) if turn.flow_run == flow_run.id), None)
    if standing is not None:
        return standing
    chosen = load_recipe(recipe or known.recipe)
    uses = {*ROLES} - {"captioner"} | {*ingest_models(chosen, library.sources(character))}
    snapshot = store.put_blob(pin_recipe(chosen, Settings(), uses).to_bytes())
    return library.open_turn(character, flow_run.id, snapshot)


@task(name="open", task_run_name="open {character}", cache_policy=NO_CACHE, persist_result=False)
def open_alone(character: str, recipe: str | None, uses: tuple[ModelUse, ...] = tuple(ROLES)) -> Recipe:
    """The recipe of a step on its own, with the models that it uses pinned; a retry gets the one it began with."""
    store, place = open_store(), f"runs/{flow_run.id}/recipe"
    if store.get_document(place, Recipe) is None:
        chosen = load_recipe(recipe or Library(store).usable_character(character).recipe)
        store.put_document(place, pin_recipe(chosen, Settings(), uses))
    found = store.get_document(place, Recipe)
    assert found is not None
    return found


def open_store() -> Store:
    """The store of this workspace."""
    settings = Settings()
    return Store(settings.store_url, settings.store_options)


def recipe_of(store: Store, opened: TurnOpened) -> Recipe:
    """The recipe a turn began with."""
    return Recipe.from_bytes(store.get_blob(opened.recipe), where=f"the recipe of turn {opened.number}")
