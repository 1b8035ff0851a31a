"""The small steps of Flywheel 2: opening a run, gathering lessons, the report."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import InputError, TurnError
from flenwheel_core.base.ids import slugify
from flenwheel_core.base.names import CHARACTER
from flenwheel_core.base.settings import Settings
from flenwheel_core.lessons.gather import Lessons, gather_lessons
from flenwheel_core.lessons.waiting import waiting_triplets
from flenwheel_core.library.characters import Library
from flenwheel_core.library.editors import EditorLibrary
from flenwheel_core.library.turn_numbers import TurnOpened
from flenwheel_core.models.pinning import EDITOR_TURN_MODELS
from flenwheel_core.models.registry import require_learning_editor
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.records.open_turns import only_one
from flenwheel_core.reports.editor_report import editor_report
from flenwheel_core.requests.edit_compare import EditCompareResult
from tasks.open_turn import NotBegun, open_store, run_states, turn_of_this_run
from tasks.pinning import pinned

DEFAULT_RECIPE = "nano"


class EditorTurnAsked(Document):
    """What a run of Flywheel 2 was asked for."""

    character: str | None
    recipe: str | None
    only_when_waiting: bool
    offer_stopped: bool
    beside_open_turn: bool


@task(name="open", task_run_name="open an editor turn", cache_policy=NO_CACHE, persist_result=False)
def open_editor_turn(asked: EditorTurnAsked) -> TurnOpened | NotBegun:
    """The editor's turn of this flow run, every model pinned; a replay gets the one it began with.

    Without a name its recipe is that of the character, or of the first one there is.
    """
    store = open_store()
    library, characters = EditorLibrary(store), Library(store)
    turns = tuple(library.turns())
    standing = turn_of_this_run(store, None, turns)
    if standing is not None:
        return standing
    if asked.character:
        CHARACTER.check(asked.character)
    names = [asked.character] if asked.character else characters.characters()
    recipe = load_recipe(asked.recipe or (characters.character(names[0]).recipe if names else DEFAULT_RECIPE))
    look = None if asked.beside_open_turn else only_one(store, None, run_states)
    try:
        if look is not None:
            look(turns)
        reason = _nothing_to_learn(library, recipe, asked)
        if reason:
            return NotBegun(reason=reason)
        chosen = pinned(recipe, EDITOR_TURN_MODELS)
        reason = _cannot_learn(chosen)
        if reason:
            return NotBegun(reason=reason)
        return library.open_turn(flow_run.id, store.put_blob(chosen.to_bytes()), look)
    except TurnError as error:
        return NotBegun(reason=error.message)


def _cannot_learn(recipe: Recipe) -> str:
    """Why this editor takes no LoRA, found before a person looks at lessons for it; empty if it learns."""
    try:
        require_learning_editor(recipe.models.editor, Settings())
    except InputError as error:
        return error.message
    return ""


def _nothing_to_learn(library: EditorLibrary, recipe: Recipe, asked: EditorTurnAsked) -> str:
    """Why no turn is begun for the lessons there are; empty if one is."""
    fresh = waiting_triplets(library.store, asked.character)
    if asked.only_when_waiting and fresh < recipe.editor.train_after:
        return (
            f"Not enough new lessons yet: {fresh} of the {recipe.editor.train_after} that editor.train_after asks for."
        )
    if library.was_stopped() and fresh == 0 and not asked.offer_stopped:
        return (
            "A person stopped these lessons at gate C, and no new ones came since. "
            "They are offered again with new ones, or at once with offer_stopped."
        )
    return ""


@task(name="gather lessons", task_run_name="gather lessons", cache_policy=NO_CACHE, persist_result=False)
def gather(character: str | None) -> Lessons:
    """Collects the triplets of all closed gates and checks them."""
    return gather_lessons(open_store(), character)


@task(name="report", task_run_name="report of the editor", cache_policy=NO_CACHE, persist_result=False)
def publish_editor_report(turn: str, lessons: Lessons, score: EditCompareResult) -> None:
    """Publishes what the comparison says, with its sheet."""
    page = editor_report(open_store(), lessons, score)
    create_markdown_artifact(page, key=slugify(f"report-{turn}"), description="The editor on held-out edits")
