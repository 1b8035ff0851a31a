"""Opens a turn of the critic."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flenwheel_core.base.document import Document
from flenwheel_core.base.names import CHARACTER
from flenwheel_core.gates.flow_server import GOES_ON
from flenwheel_core.lessons.verdicts import collect_verdicts
from flenwheel_core.library.characters import Library
from flenwheel_core.library.critics import CriticLibrary
from flenwheel_core.library.turn_numbers import TurnOpened
from flenwheel_core.recipes.loading import load_recipe
from tasks.editor import DEFAULT_RECIPE
from tasks.open_turn import NotBegun, open_store, run_states
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
    if not asked.beside_open_turn and (waiting := _waiting(library)):
        return NotBegun(reason=waiting)
    champion = library.champion()
    verdicts = len(collect_verdicts(store, asked.character).lessons)
    fresh = verdicts - (champion.verdicts if champion is not None else 0)
    if asked.only_when_waiting and fresh < recipe.critic.train_after:
        return NotBegun(
            reason=f"Not enough new verdicts yet: {fresh} of the {recipe.critic.train_after} that critic.train_after asks for."
        )
    return library.open_turn(flow_run.id, store.put_blob(pinned(recipe, {"verifier"}).to_bytes()))


def _waiting(library: CriticLibrary) -> str:
    """Why there is no second turn: an earlier one whose run goes on; empty if there is none."""
    ended = {turn.flow_run for turn in library.ended_turns()}
    open_turns = [turn for turn in library.turns() if turn.flow_run not in ended]
    known = run_states(tuple(turn.flow_run for turn in open_turns)) if open_turns else {}
    for turn in reversed(open_turns):
        if turn.flow_run in known and known[turn.flow_run].state in GOES_ON:
            return (
                f"The critic's turn {turn.number} waits at gate D or works. Answer it, or ask for another one beside it "
                "(beside_open_turn)."
            )
    return ""
