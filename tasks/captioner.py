"""Opens a turn of the captioner."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import RecipeError, TurnError
from flenwheel_core.base.names import CHARACTER
from flenwheel_core.lessons.captions import collect_captions
from flenwheel_core.library.captioners import CaptionerLibrary
from flenwheel_core.library.characters import Library
from flenwheel_core.library.turn_numbers import TurnOpened
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from tasks.editor import DEFAULT_RECIPE
from tasks.open_turn import NotBegun, no_open_turn, open_store
from tasks.pinning import pinned


class CaptionerTurnAsked(Document):
    """What a run of the captioner's flow was asked for."""

    character: str | None
    recipe: str | None
    only_when_waiting: bool
    beside_open_turn: bool


@task(name="open", task_run_name="open a captioner turn", cache_policy=NO_CACHE, persist_result=False)
def open_captioner_turn(asked: CaptionerTurnAsked) -> TurnOpened | NotBegun:
    """The captioner's turn of this flow run, its model pinned; a replay gets the one it began with.

    Without a name its recipe is that of the character, or of the first one there is. Raises RecipeError if it names no captioner.
    """
    store = open_store()
    library, characters = CaptionerLibrary(store), Library(store)
    standing = next((turn for turn in library.turns() if turn.flow_run == flow_run.id), None)
    if standing is not None:
        return standing
    if asked.character:
        CHARACTER.check(asked.character)
    names = [asked.character] if asked.character else characters.characters()
    recipe = load_recipe(asked.recipe or (characters.character(names[0]).recipe if names else DEFAULT_RECIPE))
    if recipe.models.captioner is None:
        raise RecipeError(
            f"The recipe {recipe.name} names no captioner, so none can learn.", remedy="Set models.captioner."
        )
    look = None if asked.beside_open_turn else no_open_turn("captioner", library.ended_turns)
    try:
        if look is not None:
            look(tuple(library.turns()))
        reason = _nothing_new(library, recipe, asked)
        if reason:
            return NotBegun(reason=reason)
        return library.open_turn(flow_run.id, store.put_blob(pinned(recipe, {"captioner"}).to_bytes()), look)
    except TurnError as error:
        return NotBegun(reason=error.message)


def _nothing_new(library: CaptionerLibrary, recipe: Recipe, asked: CaptionerTurnAsked) -> str:
    """Why no turn is begun for the captions there are; empty if one is."""
    if not asked.only_when_waiting:
        return ""
    fresh = library.fresh(collect_captions(library.store, asked.character))
    if fresh >= recipe.captioner.train_after:
        return ""
    return f"Not enough new captions yet: {fresh} of the {recipe.captioner.train_after} that captioner.train_after asks for."
