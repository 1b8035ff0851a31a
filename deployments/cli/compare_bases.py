"""The command that asks which base holds a character best."""

from pathlib import Path

from cyclopts import App

from deployments.cli.terminal import plain_console, progress_sink
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.evaluation.bases import MeasuredBase, base_table
from flenwheel_core.library.characters import Library
from flenwheel_core.library.training_pool import training_pool
from flenwheel_core.models.licences import licence_of
from flenwheel_core.plans.base_comparison import base_trials, check_bases
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import BENCHMARK, TRAIN
from flenwheel_core.store import Store

console = plain_console()


def add_to(app: App) -> None:
    """Adds this command to the `flenwheel` command."""
    app.command(compare_bases, name="compare-bases")


def compare_bases(
    character: str, *recipes: str, card: str | None = None, seed: int = 0, to: Path | None = None
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
    """
    settings = Settings()
    pool = training_pool(Library(Store(settings.store_url, settings.store_options)), character)
    if to is not None and not to.absolute().parent.is_dir():
        raise InputError(f"There is no folder {to.absolute().parent}.", remedy="Make it, or name another file.")
    chosen, measure = [load_recipe(name) for name in recipes], load_recipe(card or pool.character.recipe)
    check_bases(chosen, settings)
    trials = base_trials(pool, chosen, measure, settings, seed=seed)
    measured = []
    with progress_sink() as sink:
        for trial in trials:
            console.print(f"{trial.recipe.name}: {trial.recipe.models.base}")
            trained = run_in_child(TRAIN, trial.training, settings, sink)
            score = run_in_child(BENCHMARK, trial.benchmark(trained), settings, sink)
            console.print(f"  {score.summary()}")
            licence = str(licence_of(trial.training.base))
            base = _name(trial.training.base)
            measured.append(MeasuredBase(trial.recipe.name, base, licence, score.challenger))
    table = "\n".join(base_table(measured, measure.benchmark).lines())
    console.print(f"\n{table}")
    if to is not None:
        to.write_text(f"# Bases for {character}\n\n{table}\n")
        console.print(f"Written to {to}.")


def _name(reference: str) -> str:
    """Without the revision, and of a folder only its last part."""
    name = reference.rpartition("@")[0] or reference
    return Path(name).name if name.startswith("/") else name
