"""Several processes that train together, data parallel: each takes its part of every batch, gradients are averaged."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

import torch

from flenwheel_core.base.errors import LostMemberError, first_line

LONGEST_WAIT_HOURS = 3
"""One process encodes captions and pictures, or draws samples, while the others wait."""
CHUNK_BYTES = 1 << 26
"""So much of a checkpoint is handed out at once: the card may have little room."""


class Team(Protocol):
    """The processes of a run."""

    rank: int
    size: int

    @property
    def prepares(self) -> bool:
        """True for the first process of each machine: it fills the machine's caches, the others wait for it."""

    def mean_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes."""

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean of a scalar over the processes."""

    def any(self, flag: bool) -> bool:
        """True if any process says so: all then stop at the same step."""

    def hand_out(self, data: bytes) -> bytes:
        """What the first process gives, in every process; what others give is not looked at."""

    def wait(self) -> None:
        """Until every process is here."""


class Alone:
    """One process."""

    rank = 0
    size = 1
    prepares = True

    def mean_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        return

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        return value

    def any(self, flag: bool) -> bool:
        return flag

    def hand_out(self, data: bytes) -> bytes:
        return data

    def wait(self) -> None:
        return


class Processes:
    """The processes that `accelerate launch` (or torchrun) started, on one machine or several; NCCL on cards, gloo on CPUs.

    LoRA gradients are small (about 250 MB at rank 16), so one sum of one flat buffer a step costs a few milliseconds and
    needs no wrapper around the model. Every method raises LostMemberError if another process is gone.
    """

    def __init__(self, *, cpu: bool, each_machine: int | None = None) -> None:
        """`each_machine`: processes of one machine, ranks in the order of machines; None: all are of this one."""
        from accelerate import PartialState

        with _together():
            self._state = PartialState(cpu=cpu, timeout=timedelta(hours=LONGEST_WAIT_HOURS))
        self.rank = int(self._state.process_index)
        self.size = int(self._state.num_processes)
        self.prepares = self.rank % (each_machine or self.size) == 0
        self.device = torch.device(self._state.device)

    def mean_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        with _together():
            torch.distributed.all_reduce(flat)
        flat /= self.size
        torch._foreach_copy_(gradients, [p.view_as(g) for p, g in zip(_split(flat, gradients), gradients, strict=True)])

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        total = value.detach().clone()
        with _together():
            torch.distributed.all_reduce(total)
        return total / self.size

    def any(self, flag: bool) -> bool:
        total = torch.tensor(float(flag), device=self.device)
        with _together():
            torch.distributed.all_reduce(total)
        return bool(total.item() > 0)

    def hand_out(self, data: bytes) -> bytes:
        size = torch.tensor(len(data), device=self.device)
        with _together():
            torch.distributed.broadcast(size, 0)
            whole = torch.empty(int(size.item()), dtype=torch.uint8)
            if self.rank == 0 and data:
                whole.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
            for part in whole.split(CHUNK_BYTES) if whole.numel() else ():
                sent = part.to(self.device)
                torch.distributed.broadcast(sent, 0)
                part.copy_(sent)
        return whole.numpy().tobytes()

    def wait(self) -> None:
        with _together():
            self._state.wait_for_everyone()

    def leave(self) -> None:
        """The end, for all at once: a process that went while another still talks to it would take that one down."""
        self.wait()
        self._state.destroy_process_group()


@contextmanager
def _together() -> Iterator[None]:
    """torch says RuntimeError of whatever goes wrong between processes."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise LostMemberError(
            "A process of the training lost the others.",
            why=first_line(error),
            remedy="Retry the run: training goes on from its checkpoint.",
        ) from error


def _split(flat: torch.Tensor, like: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return flat.split([tensor.numel() for tensor in like])
