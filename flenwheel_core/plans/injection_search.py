"""A search for how a head learns: rates of both stages, the weight of the direction, the pull of the start, the noise that counts.

Trainings and drawings are ordinary stages: what was made before costs nothing, and a search that was interrupted goes on where it was.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.injection.gains import PairedGain, paired_gain
from flenwheel_core.injection.measures import PROMPT_LOSS
from flenwheel_core.plans.trials import on_log_scale, run_trials
from flenwheel_core.recipes.injection import LearningRecipe
from flenwheel_core.recipes.train import SigmaRecipe
from flenwheel_core.requests.inject import InjectResult, InjectTrainRequest, InjectTrainResult

if TYPE_CHECKING:
    import optuna

_LOST_WEIGHT = 10.0
"""A point of the prompt beyond those allowed costs a tenth of identity: it is no way to win."""


class LearningSpace(Document):
    """What may vary, each as a range on a log scale but for the noise."""

    rates: tuple[float, float] = Field(default=(1e-5, 5e-3), description="Learning rate of `regression`.")
    flow_rates: tuple[float, float] = Field(default=(2e-4, 2e-2), description="Learning rate of `flow`.")
    cosines: tuple[float, float] = Field(default=(0.1, 10.0), description="Weight of the direction.")
    pulls: tuple[float, float] = Field(default=(0.005, 1.0), description="Pull of least squares.")
    logit_means: tuple[float, ...] = Field(default=(0.0, 0.7, 1.4), min_length=1, description="Noise levels of `flow`.")


@dataclass(frozen=True)
class HeadTrial:
    """One way to learn, and what it brought."""

    learning: LearningRecipe
    gain: PairedGain
    score: float
    trained: InjectTrainResult


def search_head(
    request: InjectTrainRequest,
    space: LearningSpace,
    *,
    trials: int,
    seed: int,
    alpha: float,
    train: Callable[[InjectTrainRequest], InjectTrainResult],
    draw: Callable[[InjectTrainResult], InjectResult],
    on_trial: Callable[[HeadTrial], None] = lambda trial: None,
) -> tuple[HeadTrial, ...]:
    """All trials, best first; the first that is tried is the request's own way. Raises MissingWeightsError if optuna is not installed.

    `draw` makes pictures with a head at `alpha`, of identities that no trial learned from, with their controls and a verifier. The
    score is identity over another's photos, less what the prompt loses beyond what is allowed.
    """
    finished: list[HeadTrial] = []

    def run(learning: LearningRecipe) -> float:
        trained = train(request.model_copy(update={"learning": learning}))
        gain = paired_gain(draw(trained).cells, alpha, over="identity")
        assert gain is not None  # `draw` has a verifier and a control
        finished.append(HeadTrial(learning, gain, score_of(gain), trained))
        on_trial(finished[-1])
        return finished[-1].score

    run_trials(request.learning, lambda trial: _propose(trial, request.learning, space), run, trials=trials, seed=seed)
    return tuple(sorted(finished, key=lambda trial: -trial.score))


def score_of(gain: PairedGain) -> float:
    """More is better."""
    lost = 0.0 if gain.lost is None else max(0.0, gain.lost.value - PROMPT_LOSS)
    return gain.identity.value - _LOST_WEIGHT * lost


def _propose(trial: "optuna.Trial", learning: LearningRecipe, space: LearningSpace) -> LearningRecipe:
    return learning.changed(
        learning_rate=on_log_scale(trial, "learning_rate", *space.rates),
        flow_rate=on_log_scale(trial, "flow_rate", *space.flow_rates),
        cosine=on_log_scale(trial, "cosine", *space.cosines),
        pull=on_log_scale(trial, "pull", *space.pulls),
        sigma=SigmaRecipe(
            **{**learning.sigma.model_dump(), "logit_mean": trial.suggest_categorical("logit_mean", space.logit_means)}
        ),
    )
