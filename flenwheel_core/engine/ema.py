"""An exponential moving average of the trained weights."""

from collections.abc import Mapping

import torch


class WeightAverage:
    """`average = decay * average + (1 - decay) * weight`, with a faster decay in the first steps (as in diffusers)."""

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.average = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, torch.nn.Parameter], step: int) -> None:
        """Take in the weights after `step` steps (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        names = list(self.average)
        torch._foreach_lerp_([self.average[n] for n in names], [parameters[n].detach() for n in names], 1 - decay)

    def load(self, average: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in self.average.items():
            tensor.copy_(average[name])
