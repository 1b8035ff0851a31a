"""The small steps of a comparison of bases: its plan, with every model pinned, and its page."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from flenwheel_core.base.ids import slugify
from flenwheel_core.base.names import CHARACTER
from flenwheel_core.base.progress import hearing
from flenwheel_core.base.settings import Settings
from flenwheel_core.plans.base_comparison import BaseComparison, plan_comparison
from tasks.open_turn import open_store
from tasks.progress_artifact import say


@task(name="plan", task_run_name="plan bases of {character}", cache_policy=NO_CACHE, persist_result=False)
def plan_bases(character: str, recipes: tuple[str, ...], card: str | None, seed: int) -> BaseComparison:
    """All trials, checked and with their models pinned; what is fetched for it is told in the run's log."""
    CHARACTER.check(character)
    with hearing(say):
        return plan_comparison(open_store(), Settings(), character, recipes, card=card, seed=seed)


@task(name="report", task_run_name="report bases of {character}", cache_policy=NO_CACHE, persist_result=False)
def publish_bases(character: str, lines: list[str]) -> None:
    """Publishes the table."""
    page = "\n".join([f"# Bases for {character}", "", *lines, ""])
    create_markdown_artifact(page, key=slugify(f"bases-{character}"), description=f"Which base holds {character} best")
