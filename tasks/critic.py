"""Opens a turn of the critic."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from flenwheel_core.lessons.verdicts import collect_verdicts
from flenwheel_core.library.critics import CriticLibrary
from flenwheel_core.library.turn_numbers import TurnOpened
from flenwheel_core.models.pinning import ModelUse
from flenwheel_core.recipes.model import Recipe
from tasks.open_turn import NotBegun, open_store
from tasks.shared_turn import SharedTurnAsked, open_shared_turn


@task(name="open", task_run_name="open a critic turn", cache_policy=NO_CACHE, persist_result=False)
def open_critic_turn(asked: SharedTurnAsked) -> TurnOpened | NotBegun:
    """The critic's turn of this flow run, its verifier pinned; a replay gets the one it began with."""
    library = CriticLibrary(open_store())

    def nothing_new(recipe: Recipe) -> str:
        if not asked.only_when_waiting:
            return ""
        champion = library.champion()
        verdicts = len(collect_verdicts(library.store, asked.character).lessons)
        fresh = verdicts - (champion.verdicts if champion is not None else 0)
        if fresh >= recipe.critic.train_after:
            return ""
        return (
            f"Not enough new verdicts yet: {fresh} of the {recipe.critic.train_after} that critic.train_after asks for."
        )

    return open_shared_turn(asked, "critic", library, _uses, nothing_new)


def _uses(recipe: Recipe) -> set[ModelUse]:
    return {"verifier", "captioner"} if recipe.critic.vision.learns else {"verifier"}
