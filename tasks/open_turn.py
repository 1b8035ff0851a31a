"""Opens a turn: its number, and the recipe with every model pinned to its very bytes."""

from collections.abc import Mapping
from uuid import UUID

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.runtime import flow_run

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import TurnError
from flenwheel_core.base.settings import Settings
from flenwheel_core.gates.flow_server import RunStatus
from flenwheel_core.library.characters import Library
from flenwheel_core.library.turn_numbers import TurnOpened
from flenwheel_core.models.pinning import ROLES, ModelUse
from flenwheel_core.plans.subjects import plan_of
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.records.open_turns import only_one, refuse_ended
from flenwheel_core.store import Store
from tasks.pinning import pinned, pinned_snapshot

MOST_RUNS = 200
"""The server gives no more at once."""


class NotBegun(Document):
    """Why a run begins no turn: another one is open."""

    reason: str


@task(name="open turn", task_run_name="open a turn of {character}", cache_policy=NO_CACHE, persist_result=False)
def open_turn(character: str, recipe: str | None, beside_open_turn: bool) -> TurnOpened | NotBegun:
    """The turn of this flow run. A replay gets the number and the recipe it began with, whatever the recipe's file says now."""
    store = open_store()
    library = Library(store)
    known = library.usable_character(character)
    turns = tuple(library.turns(character))
    standing = turn_of_this_run(store, character, turns)
    if standing is not None:
        return standing
    look = None if beside_open_turn else only_one(store, character, run_states)
    try:
        if look is not None:
            look(turns)
        chosen = load_recipe(recipe or known.recipe)
        plan = plan_of(known.kind)
        plan.require(chosen)
        files = library.sources(character)
        snapshot = store.put_blob(pinned_snapshot(chosen, plan.models, files).to_bytes())
        return library.open_turn(character, flow_run.id, snapshot, look)
    except TurnError as error:
        return NotBegun(reason=error.message)


@task(name="open", task_run_name="open {character}", cache_policy=NO_CACHE, persist_result=False)
def open_alone(character: str, recipe: str | None, uses: tuple[ModelUse, ...] = tuple(ROLES)) -> TurnOpened:
    """Number of a step on its own, and its recipe with the models that it uses pinned; a retry gets the ones it began with."""
    store = open_store()
    library = Library(store)
    standing = next((step for step in library.steps(character) if step.flow_run == flow_run.id), None)
    if standing is not None:
        return standing
    chosen = load_recipe(recipe or library.usable_character(character).recipe)
    return library.open_step(character, flow_run.id, store.put_blob(pinned(chosen, uses).to_bytes()))


def turn_of_this_run(store: Store, character: str | None, turns: tuple[TurnOpened, ...]) -> TurnOpened | None:
    """The turn that this run opened before; raises TurnError if a person ended it meanwhile."""
    standing = next((turn for turn in turns if turn.flow_run == flow_run.id), None)
    if standing is not None:
        refuse_ended(store, character, standing.flow_run)
    return standing


def run_states(flow_runs: tuple[str, ...]) -> Mapping[str, RunStatus]:
    """How runs, the newest ones of them, stand at the server that this run belongs to."""
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(id_) for id_ in flow_runs[-MOST_RUNS:]]))
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=wanted)
    return {
        str(run.id): RunStatus(flow_run=str(run.id), state=run.state.type.value, name=run.state.name or "")
        for run in found
        if run.state is not None
    }


def open_store() -> Store:
    """The store of this workspace."""
    settings = Settings()
    return Store(settings.store_url, settings.store_options)


def recipe_of(store: Store, opened: TurnOpened) -> Recipe:
    """The recipe a turn began with."""
    return Recipe.from_bytes(store.get_blob(opened.recipe), where=f"the recipe of turn {opened.number}")
