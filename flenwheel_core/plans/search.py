"""A search for training settings: a few trials over rank, learning rate, steps and LoRA strength, or all of ranks and blocks.

Optuna proposes (TPE, Bergstra et al. 2011); trainings and scores are ordinary stages, so that whatever was trained or
scored before, in this search or another, costs nothing, and a search that was interrupted goes on where it was.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.plans.trials import on_log_scale, run_trials
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.train import TrainRequest, TrainResult

if TYPE_CHECKING:
    import optuna


class SearchSpace(Document):
    """What may vary. A tuple of one value keeps it fixed."""

    ranks: tuple[int, ...] = Field(default=(8, 16, 32), min_length=1, description="Ranks to try.")
    learning_rates: tuple[float, float] = Field(
        default=(5e-5, 4e-4), description="Range of the learning rate, log scale."
    )
    steps: tuple[int, ...] = Field(default=(800, 1500, 2500), min_length=1, description="Numbers of steps to try.")
    strengths: tuple[float, ...] = Field(default=(0.8, 1.0), min_length=1, description="LoRA strengths to try.")


@dataclass(frozen=True)
class Trial:
    """One setting and its score."""

    recipe: TrainingRecipe
    strength: float
    score: float
    trained: TrainResult


def search(
    request: TrainRequest,
    space: SearchSpace,
    *,
    trials: int,
    seed: int,
    train: Callable[[TrainRequest], TrainResult],
    score: Callable[[TrainResult, float], float],
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> tuple[Trial, ...]:
    """All trials, best first. `train` makes a LoRA, `score` says how good it is at a strength (more is better).

    The first trial is the request's own recipe, so that the best is never worse than what there was. Raises
    MissingWeightsError if optuna is not installed.
    """
    finished: list[Trial] = []

    def run(choice: tuple[TrainingRecipe, float]) -> float:
        recipe, strength = choice
        trained = train(request.model_copy(update={"recipe": recipe}))
        trial = Trial(recipe, strength, score(trained, strength), trained)
        finished.append(trial)
        on_trial(trial)
        return trial.score

    run_trials(
        (request.recipe, 1.0), lambda trial: _propose(trial, request.recipe, space), run, trials=trials, seed=seed
    )
    return best_first(finished)


def sweep(
    request: TrainRequest,
    *,
    ranks: Sequence[int],
    blocks: Sequence[tuple[str, ...]],
    train: Callable[[TrainRequest], TrainResult],
    score: Callable[[TrainResult, float], float],
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> tuple[Trial, ...]:
    """Every rank on every choice of blocks, all with the request's own steps and learning rate; best first."""
    finished = []
    for rank, where in itertools.product(ranks, blocks):
        changed = request.recipe.model_dump(mode="json")
        changed["lora"] = changed["lora"] | {"rank": rank, "blocks": where, "block_ranks": {}}
        recipe = TrainingRecipe.model_validate(changed)
        trained = train(request.model_copy(update={"recipe": recipe}))
        finished.append(Trial(recipe, 1.0, score(trained, 1.0), trained))
        on_trial(finished[-1])
    return best_first(finished)


def best_first(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """By score; of equal ones the earlier first."""
    return tuple(sorted(trials, key=lambda trial: -trial.score))


def smallest_near_best(trials: Sequence[Trial], size: Callable[[Trial], int], *, within: float) -> Trial:
    """The trial with the smallest file of those that lose at most this share of the best score."""
    best = max(trial.score for trial in trials)
    near = [trial for trial in trials if trial.score >= best - abs(best) * within]
    return min(near, key=lambda trial: (size(trial), -trial.score))


def _propose(trial: "optuna.Trial", recipe: TrainingRecipe, space: SearchSpace) -> tuple[TrainingRecipe, float]:
    rank = trial.suggest_categorical("rank", space.ranks)
    rate = on_log_scale(trial, "learning_rate", *space.learning_rates)
    steps = trial.suggest_categorical("steps", space.steps)
    changed = recipe.model_dump(mode="json") | {"learning_rate": rate, "steps": steps}
    changed["lora"] = changed["lora"] | {"rank": rank}
    return TrainingRecipe.model_validate(changed), trial.suggest_categorical("strength", space.strengths)
