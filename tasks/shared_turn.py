"""Opens a turn of what all characters share and a person lets through at gate D: the critic or the captioner."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from prefect.runtime import flow_run

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import TurnError
from flenwheel_core.base.ids import Digest
from flenwheel_core.base.names import CHARACTER
from flenwheel_core.gates.flow_server import GOES_ON
from flenwheel_core.library.characters import Library
from flenwheel_core.library.turn_numbers import Look, TurnOpened
from flenwheel_core.models.pinning import ModelUse
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.store import Store
from tasks.editor import DEFAULT_RECIPE
from tasks.open_turn import NotBegun, run_states
from tasks.pinning import pinned


class SharedTurnAsked(Document):
    """What a run of the critic's or the captioner's flow was asked for."""

    character: str | None
    recipe: str | None
    only_when_waiting: bool
    beside_open_turn: bool


class EndedTurn(Protocol):
    """The record of a turn that ended."""

    @property
    def flow_run(self) -> str: ...


class SharedLibrary(Protocol):
    """The turns of a learner."""

    store: Store

    def turns(self) -> list[TurnOpened]: ...

    def ended_turns(self) -> Sequence[EndedTurn]: ...

    def open_turn(self, flow_run: str, recipe: Digest, look: Look | None = None) -> TurnOpened: ...


def open_shared_turn(
    asked: SharedTurnAsked,
    learner: str,
    library: SharedLibrary,
    uses: Callable[[Recipe], Collection[ModelUse]],
    nothing_new: Callable[[Recipe], str],
) -> TurnOpened | NotBegun:
    """The learner's turn of this flow run, the models that it uses by its recipe pinned; a replay gets the one it began with.

    Without a name its recipe is that of the character, or of the first one there is. `nothing_new` says why no turn is worth beginning.
    """
    standing = next((turn for turn in library.turns() if turn.flow_run == flow_run.id), None)
    if standing is not None:
        return standing
    if asked.character:
        CHARACTER.check(asked.character)
    characters = Library(library.store)
    names = [asked.character] if asked.character else characters.characters()
    recipe = load_recipe(asked.recipe or (characters.character(names[0]).recipe if names else DEFAULT_RECIPE))
    look = None if asked.beside_open_turn else _no_open_turn(learner, library)
    try:
        if look is not None:
            look(tuple(library.turns()))
        reason = nothing_new(recipe)
        if reason:
            return NotBegun(reason=reason)
        return library.open_turn(flow_run.id, library.store.put_blob(pinned(recipe, uses(recipe)).to_bytes()), look)
    except TurnError as error:
        return NotBegun(reason=error.message)


def _no_open_turn(learner: str, library: SharedLibrary) -> Look:
    """Refuses a further turn while the run of an open one goes on: TurnError says so."""

    def look(turns: tuple[TurnOpened, ...]) -> None:
        ended = {turn.flow_run for turn in library.ended_turns()}
        open_turns = [turn for turn in turns if turn.flow_run not in ended]
        known = run_states(tuple(turn.flow_run for turn in open_turns)) if open_turns else {}
        for turn in reversed(open_turns):
            if turn.flow_run in known and known[turn.flow_run].state in GOES_ON:
                raise TurnError(
                    f"The {learner}'s turn {turn.number} waits at gate D or works, so no second one was begun.",
                    remedy="Answer it, or ask for another one beside it (beside_open_turn).",
                )

    return look
