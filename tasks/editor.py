"""The small steps of Flywheel 2: opening a run, gathering lessons, the report."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flenwheel_core.domain.editor_stages import EditCompareResult
from flenwheel_core.editor_report import editor_report
from flenwheel_core.library import Library
from flenwheel_core.names import CHARACTER
from flenwheel_core.pinning import EDITOR_TURN, pin_recipe
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.settings import Settings
from flenwheel_core.triplets.lessons import Lessons, gather_lessons
from tasks.opening import open_store

DEFAULT_RECIPE = "nano"


@task(name="open", task_run_name="open an editor turn", cache_policy=NO_CACHE, persist_result=False)
def open_editor_turn(character: str | None, recipe: str | None) -> Recipe:
    """The recipe of this run, every model pinned; a replay gets the one it began with.

    Without a name it is the recipe of the character, or of the first one there is.
    """
    store, place = open_store(), f"editor/runs/{flow_run.id}/recipe"
    if store.get_document(place, Recipe) is None:
        library = Library(store)
        if character:
            CHARACTER.check(character)
        names = [character] if character else library.characters()
        chosen = recipe or (library.character(names[0]).recipe if names else DEFAULT_RECIPE)
        store.put_document(place, pin_recipe(load_recipe(chosen), Settings(), EDITOR_TURN))
    found = store.get_document(place, Recipe)
    assert found is not None
    return found


@task(name="gather lessons", task_run_name="gather lessons", cache_policy=NO_CACHE, persist_result=False)
def gather(character: str | None) -> Lessons:
    """Collects the triplets of all closed gates and checks them."""
    return gather_lessons(open_store(), character)


@task(name="report", task_run_name="report of the editor", cache_policy=NO_CACHE, persist_result=False)
def publish_editor_report(key: str, lessons: Lessons, score: EditCompareResult) -> str:
    """Publishes what the comparison says, with its sheet, and returns the page."""
    page = editor_report(open_store(), lessons, score)
    create_markdown_artifact(page, key=key, description="The editor on held-out edits")
    return page
