"""Optimizers by name; libraries that are not always there are imported when asked for."""

import importlib.util
from collections.abc import Sequence

import torch

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.recipes.train import TrainingRecipe

_PACKAGES = {"adamw8bit": "bitsandbytes", "prodigy": "prodigyopt"}


def require_optimizer(name: str) -> None:
    """Raises MissingWeightsError if the optimizer's package is missing."""
    package = _PACKAGES.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        raise MissingWeightsError(
            f"The optimizer {name} needs the package {package}.",
            why="It is not installed here.",
            remedy=f"pip install {package}, or set optimizer = 'adamw'.",
        )


def make_optimizer(recipe: TrainingRecipe, parameters: Sequence[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The recipe's optimizer over `parameters`; raises MissingWeightsError if its package is missing."""
    require_optimizer(recipe.optimizer)
    rate, decay, betas = recipe.learning_rate, recipe.weight_decay, recipe.betas
    if recipe.optimizer == "adamw8bit":
        import bitsandbytes

        return bitsandbytes.optim.AdamW8bit(parameters, lr=rate, betas=betas, weight_decay=decay)
    if recipe.optimizer == "adafactor":
        return torch.optim.Adafactor(parameters, lr=rate, weight_decay=decay)
    if recipe.optimizer == "prodigy":
        from prodigyopt import Prodigy

        return Prodigy(
            parameters, lr=rate, betas=betas, weight_decay=decay, use_bias_correction=True, safeguard_warmup=True
        )
    return torch.optim.AdamW(parameters, lr=rate, betas=betas, weight_decay=decay, fused=True)
