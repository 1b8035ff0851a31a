"""Opens a turn of the captioner."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from flenwheel_core.base.errors import RecipeError
from flenwheel_core.lessons.captions import collect_captions
from flenwheel_core.library.captioners import CaptionerLibrary
from flenwheel_core.library.turn_numbers import TurnOpened
from flenwheel_core.recipes.model import Recipe
from tasks.open_turn import NotBegun, open_store
from tasks.shared_turn import SharedTurnAsked, open_shared_turn


@task(name="open", task_run_name="open a captioner turn", cache_policy=NO_CACHE, persist_result=False)
def open_captioner_turn(asked: SharedTurnAsked) -> TurnOpened | NotBegun:
    """The captioner's turn of this flow run, its model pinned; a replay gets the one it began with.

    Raises RecipeError if the recipe names no captioner.
    """
    library = CaptionerLibrary(open_store())

    def nothing_new(recipe: Recipe) -> str:
        if recipe.models.captioner is None:
            raise RecipeError(
                f"The recipe {recipe.name} names no captioner, so none can learn.", remedy="Set models.captioner."
            )
        if not asked.only_when_waiting:
            return ""
        fresh, wanted = library.fresh(collect_captions(library.store, asked.character)), recipe.captioner.train_after
        if fresh >= wanted:
            return ""
        return f"Not enough new captions yet: {fresh} of the {wanted} that captioner.train_after asks for."

    return open_shared_turn(asked, "captioner", library, lambda _: {"captioner"}, nothing_new)
