"""The command that asks which base holds a character best."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cyclopts import App

from deployments.cli.terminal import plain_console, progress_sink
from deployments.prefect.flow_server import PrefectFlowServer
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.progress import Sink
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Library
from flenwheel_core.library.training_pool import training_pool
from flenwheel_core.plans.base_comparison import check_bases, plan_comparison
from flenwheel_core.recipes.loading import lasting_name, load_recipe
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import Stage
from flenwheel_core.store import Store

console = plain_console()
Request = TypeVar("Request", bound=StageRequest)
Result = TypeVar("Result", bound=StageResult)


def add_to(app: App) -> None:
    """Adds this command to the `flenwheel` command."""
    app.command(compare_bases, name="compare-bases")


@dataclass(frozen=True)
class StagesHere:
    """Runs stages from this terminal, with no server. A GPU stage waits for its card like any other."""

    settings: Settings
    sink: Sink

    def stage(self, stage: Stage[Request, Result], request: Request, label: str) -> Result:
        console.print(label)
        return run_in_child(stage, request, self.settings, self.sink)


def compare_bases(
    character: str,
    *recipes: str,
    card: str | None = None,
    seed: int = 0,
    to: Path | None = None,
    schedule: bool = False,
) -> None:
    """Train a LoRA on the character's pool for each recipe's base, score all on one model card, and show one table. Changes nothing.

    Each recipe is a whole training and a benchmark; what was trained or scored before is reused, so a comparison that broke off goes on.

    Parameters
    ----------
    character
        The character's name.
    recipes
        Two or more recipes, by name or path: each gives its base, and how that is trained and drawn.
    card
        The recipe whose prompts, seeds, limits and verifier all are measured with; the character's own if not given.
    seed
        Seed of the trainings.
    to
        A file for the table, in markdown.
    schedule
        Let the running workspace do it (`flenwheel up`): it shows in the Prefect interface, and the table is a page of its run.
    """
    settings = Settings()
    store = Store(settings.store_url, settings.store_options)
    if schedule:
        _schedule(settings, store, character, recipes, card=card, seed=seed, to=to)
        return
    if to is not None and not to.absolute().parent.is_dir():
        raise InputError(f"There is no folder {to.absolute().parent}.", remedy="Make it, or name another file.")
    from flows.comparison import compare_trials

    comparison = plan_comparison(store, settings, character, recipes, card=card, seed=seed)
    with progress_sink() as sink:
        lines = compare_trials(comparison, StagesHere(settings, sink), console.print).lines()
    table = "\n".join(lines)
    console.print(f"\n{table}")
    if to is not None:
        to.write_text(f"# Bases for {character}\n\n{table}\n")
        console.print(f"Written to {to}.")


def _schedule(
    settings: Settings,
    store: Store,
    character: str,
    recipes: tuple[str, ...],
    *,
    card: str | None,
    seed: int,
    to: Path | None,
) -> None:
    """As a run of the deployment; what is wrong with it is said here and now."""
    if to is not None:
        raise InputError(
            "A scheduled comparison writes no file.", remedy="Leave --to out: its table is a page of its run."
        )
    pool = training_pool(Library(store), character)
    check_bases([load_recipe(name) for name in recipes], settings)
    load_recipe(card or pool.character.recipe)
    server = PrefectFlowServer(settings)
    started = server.start_comparison(
        character, [lasting_name(name) for name in recipes], lasting_name(card) if card else None, seed
    )
    console.print(f"Scheduled a comparison of bases for {character} ({started.flow_run}).")
    address = server.run_address(started.flow_run)
    if address is not None:
        console.print(address)
