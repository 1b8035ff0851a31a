"""Which base holds a character best: a training and a benchmark for each base, then one table. Nothing is promoted."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from flenwheel_core.evaluation.bases import BaseTable, MeasuredBase, base_table
from flenwheel_core.models.licences import licence_of
from flenwheel_core.plans.base_comparison import BaseComparison
from flenwheel_core.runner.stage import BENCHMARK, TRAIN

if TYPE_CHECKING:
    from flows.turn_runner import StageRunner


def compare_trials(comparison: BaseComparison, runner: "StageRunner", say: Callable[[str], None]) -> BaseTable:
    """The table of all trials; what was trained or scored before is not made again. `say` is told how each base did."""
    measured = []
    for trial in comparison.trials:
        name = f"{comparison.character} on {trial.base} ({trial.recipe})"
        trained = runner.stage(TRAIN, trial.training, f"train {name}")
        score = runner.stage(BENCHMARK, trial.benchmark(trained), f"benchmark {name}")
        say(f"{trial.recipe}, {trial.base}: {score.summary()}")
        licence = str(licence_of(trial.training.base))
        measured.append(MeasuredBase(trial.recipe, trial.base, licence, score.challenger))
    return base_table(measured, comparison.trials[0].card.recipe)
