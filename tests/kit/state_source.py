"""The weights of a module that is in memory, as a fast transformer asks for them."""

import torch


class StateSource:
    """A `WeightSource` over a state dict."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._state = {name: tensor.clone() for name, tensor in module.state_dict().items()}

    def tensor(self, name: str) -> torch.Tensor:
        return self._state[name]

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._state[name].shape)

    def has(self, name: str) -> bool:
        return name in self._state
