"""Opens a turn of the critic."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import TurnError
from flenwheel_core.base.names import CHARACTER
from flenwheel_core.lessons.verdicts import collect_verdicts
from flenwheel_core.library.characters import Library
from flenwheel_core.library.critics import CriticLibrary
from flenwheel_core.library.turn_numbers import TurnOpened
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from tasks.editor import DEFAULT_RECIPE
from tasks.open_turn import NotBegun, no_open_turn, open_store
from tasks.pinning import pinned


class CriticTurnAsked(Document):
    """What a run of the critic's flow was asked for."""

    character: str | None
    recipe: str | None
    only_when_waiting: bool
    beside_open_turn: bool


@task(name="open", task_run_name="open a critic turn", cache_policy=NO_CACHE, persist_result=False)
def open_critic_turn(asked: CriticTurnAsked) -> TurnOpened | NotBegun:
    """The critic's turn of this flow run, its verifier pinned; a replay gets the one it began with.

    Without a name its recipe is that of the character, or of the first one there is.
    """
    store = open_store()
    library, characters = CriticLibrary(store), Library(store)
    standing = next((turn for turn in library.turns() if turn.flow_run == flow_run.id), None)
    if standing is not None:
        return standing
    if asked.character:
        CHARACTER.check(asked.character)
    names = [asked.character] if asked.character else characters.characters()
    recipe = load_recipe(asked.recipe or (characters.character(names[0]).recipe if names else DEFAULT_RECIPE))
    look = None if asked.beside_open_turn else no_open_turn("critic", library.ended_turns)
    try:
        if look is not None:
            look(tuple(library.turns()))
        reason = _nothing_new(library, recipe, asked)
        if reason:
            return NotBegun(reason=reason)
        return library.open_turn(flow_run.id, store.put_blob(pinned(recipe, {"verifier"}).to_bytes()), look)
    except TurnError as error:
        return NotBegun(reason=error.message)


def _nothing_new(library: CriticLibrary, recipe: Recipe, asked: CriticTurnAsked) -> str:
    """Why no turn is begun for the verdicts there are; empty if one is."""
    if not asked.only_when_waiting:
        return ""
    champion = library.champion()
    verdicts = len(collect_verdicts(library.store, asked.character).lessons)
    fresh = verdicts - (champion.verdicts if champion is not None else 0)
    if fresh >= recipe.critic.train_after:
        return ""
    return f"Not enough new verdicts yet: {fresh} of the {recipe.critic.train_after} that critic.train_after asks for."
