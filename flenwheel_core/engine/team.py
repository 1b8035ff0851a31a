"""Several processes that train together, data parallel: each takes its part of every batch, gradients are averaged."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Protocol

import torch

LONGEST_WAIT_HOURS = 3
"""One process encodes captions and pictures, or draws samples, while the others wait."""


class Team(Protocol):
    """The processes of a run."""

    rank: int
    size: int

    def mean_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes."""

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean of a scalar over the processes."""

    def any(self, flag: bool) -> bool:
        """True if any process says so: all then stop at the same step."""

    def wait(self) -> None:
        """Until every process is here."""


class Alone:
    """One process."""

    rank = 0
    size = 1

    def mean_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        return

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        return value

    def any(self, flag: bool) -> bool:
        return flag

    def wait(self) -> None:
        return


class Processes:
    """The processes that `accelerate launch` (or torchrun) started; NCCL on cards, gloo on CPUs.

    LoRA gradients are small (about 250 MB at rank 16), so one sum of one flat buffer a step costs a few milliseconds and
    needs no wrapper around the model.
    """

    def __init__(self, *, cpu: bool) -> None:
        from accelerate import PartialState

        self._state = PartialState(cpu=cpu, timeout=timedelta(hours=LONGEST_WAIT_HOURS))
        self.rank = int(self._state.process_index)
        self.size = int(self._state.num_processes)
        self.device = torch.device(self._state.device)

    def mean_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        flat /= self.size
        torch._foreach_copy_(gradients, [p.view_as(g) for p, g in zip(_split(flat, gradients), gradients, strict=True)])

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        total = value.detach().clone()
        torch.distributed.all_reduce(total)
        return total / self.size

    def any(self, flag: bool) -> bool:
        total = torch.tensor(float(flag), device=self.device)
        torch.distributed.all_reduce(total)
        return bool(total.item() > 0)

    def wait(self) -> None:
        self._state.wait_for_everyone()

    def leave(self) -> None:
        """The end, for all at once: a process that went while another still talks to it would take that one down."""
        self.wait()
        self._state.destroy_process_group()


def _split(flat: torch.Tensor, like: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return flat.split([tensor.numel() for tensor in like])
