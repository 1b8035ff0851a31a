"""Trials that learn from those before them: what every search of settings here is made of.

Optuna proposes (TPE, Bergstra et al. 2011).
"""

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from flenwheel_core.base.errors import MissingWeightsError

if TYPE_CHECKING:
    import optuna

Choice = TypeVar("Choice")


def run_trials(
    start: Choice,
    propose: "Callable[[optuna.Trial], Choice]",
    score: Callable[[Choice], float],
    *,
    trials: int,
    seed: int,
) -> None:
    """Scores `start`, then what is proposed, until so many were scored; more is better. Raises MissingWeightsError without optuna.

    What is given first is scored first, so that the best is never worse than what there was; no proposal is the second of its kind
    because of it.
    """
    if importlib.util.find_spec("optuna") is None:
        raise MissingWeightsError("The search needs the package optuna.", remedy="pip install 'flenwheel[search]'")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    score(start)
    for _ in range(trials - 1):
        asked = study.ask()
        study.tell(asked, score(propose(asked)))


def on_log_scale(trial: "optuna.Trial", name: str, low: float, high: float) -> float:
    """Two digits: a value that differs in the twelfth would be tried again for nothing."""
    return float(f"{trial.suggest_float(name, low, high, log=True):.2g}")
