"""The first page of a turn in the Prefect interface: what it will take, corrected once its speed is measured."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_logger
from prefect.runtime import flow_run

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import slugify
from flenwheel_core.base.settings import Settings
from flenwheel_core.plans.speeds import known_speeds, remember_speed
from flenwheel_core.plans.turn_forecast import TurnForecast, forecast_lines, forecast_turn
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.store import Store
from tasks.open_turn import open_store


class ShownPlan(Document):
    """What a run's page is made from, kept by the run."""

    name: str
    forecast: TurnForecast


@task(name="plan", task_run_name="plan {name}", cache_policy=NO_CACHE, persist_result=False)
def publish_plan(name: str, recipe: Recipe, first_turn: bool) -> None:
    """Publishes what the turn will take; again at a replay, with what was measured since. It may not fail the turn."""
    store = open_store()
    try:
        if store.get_document(_place(flow_run.id), ShownPlan) is None:
            forecast = forecast_turn(recipe, Settings(), first_turn=first_turn)
            store.put_document(_place(flow_run.id), ShownPlan(name=name, forecast=forecast))
        _show(store, flow_run.id)
    except Exception as error:
        get_logger(__name__).warning(f"The plan of {name} could not be published: {error}")


def correct_plan(run: str, work: str, seconds_each: float) -> None:
    """Keeps the measured speed, and publishes the plan of the run's turn anew, if it has one."""
    store = open_store()
    remember_speed(store, work, seconds_each)
    _show(store, run)


def _show(store: Store, run: str) -> None:
    plan = store.get_document(_place(run), ShownPlan)
    if plan is None:
        return
    lines = forecast_lines(plan.forecast, known_speeds(store), Settings())
    page = "\n".join([f"# {plan.name}: what it takes", "", *(f"* {line}" for line in lines), ""])
    create_markdown_artifact(page, key=slugify(f"plan-{plan.name}"), description=f"What {plan.name} takes")


def _place(run: str) -> str:
    return f"forecasts/{run}"
