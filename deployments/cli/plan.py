"""The command that says what a turn would take, and how its stages would use the card."""

from cyclopts import App
from rich.console import Console

from flenwheel_core.base.settings import Settings
from flenwheel_core.plans.card_plans import card_of, plan_stages
from flenwheel_core.plans.speeds import known_speeds
from flenwheel_core.plans.turn_forecast import forecast_lines, forecast_turn
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.store import Store

console = Console(soft_wrap=True, highlight=False, markup=False)


def add_to(app: App) -> None:
    """Adds this command to the `flenwheel` command."""
    app.command(plan)


def plan(recipe: str, *, card: float | None = None) -> int:
    """Show what a first turn takes (pictures, steps, hours as measured here, what is fetched, disk) and how each stage would use the card:
    storage of the weights, what is computed twice, the peak. Loads and fetches nothing.

    Exits with 1 if a stage has no plan.

    Parameters
    ----------
    recipe
        A recipe's name, or the path of a .toml file.
    card
        Plan for a card of so many GiB (Ada generation or later) instead of this machine's.
    """
    settings = Settings()
    chosen = load_recipe(recipe)
    speeds = known_speeds(Store(settings.store_url, settings.store_options))
    for line in forecast_lines(forecast_turn(chosen, settings, first_turn=True), speeds, settings):
        console.print(line)
    room = card_of(settings, card)
    plans = plan_stages(chosen, settings, room)
    console.print(f"For tensors: {room.usable_gib:.1f} GiB of the card.")
    for one in plans:
        console.print(f"{one.stage}: {one.text}")
    return 0 if all(one.predicted_gib is not None for one in plans) else 1
