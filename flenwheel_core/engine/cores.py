"""Small models on a CPU: their operations are too short to be shared among cores, so that each core takes items of its own instead.

A thread that computes alone gives the same numbers however many others compute beside it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar, cast

import torch

SMALL = 2**26
"""Weights. A larger model's products fill all cores, and its tensors are too large to have twice."""

THREADS = "flenwheel-core"
"""How the threads are called that take items; those of `Parts` live as long as it does, and have no name."""

Given = TypeVar("Given")
Result = TypeVar("Result")


def cores_for(model: torch.nn.Module) -> int:
    """How many items are computed at once with this model: 1 on a card, and for a model that fills all cores by itself."""
    weights = list(model.parameters())
    count = sum(weight.numel() for weight in weights) + int(getattr(model, "hidden_weights", 0))
    if not weights or weights[0].device.type != "cpu" or count > SMALL:
        return 1
    return torch.get_num_threads()


def parts_of(items: int, cores: int) -> int:
    """Into how many parts of the same size so many items are shared out."""
    return next(parts for parts in range(min(items, cores), 0, -1) if items % parts == 0)


def side_by_side(
    work: Callable[[Given], Result], given: Iterable[Given], cores: int, *, ahead: bool = True
) -> Iterator[Result]:
    """`work` of each, in their order, on so many cores at once; with one core in the caller's own thread.

    An error is raised where its result would have come. Whoever stops asking waits for what is under way; `ahead` keeps the cores at work
    while a result is looked at.
    """
    if cores == 1:
        yield from map(work, given)
        return
    threads = torch.get_num_threads()
    running: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(cores, thread_name_prefix=THREADS, initializer=torch.set_num_threads, initargs=(1,))
    try:
        for one in given:
            running.append(pool.submit(work, one))
            if len(running) == cores + int(ahead):
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        # The number is a thread's own, but threads that begin later take the one that was set last.
        torch.set_num_threads(threads)


class Parts:
    """Forward and backward passes of a batch's parts, each on a core of its own."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._pool: ThreadPoolExecutor | None = None

    def each(self, work: Callable[[Given], Result], given: Sequence[Given]) -> list[Result]:
        """`work` of each part, side by side."""
        if self._pool is None:
            threads = torch.get_num_threads()
            self._pool = ThreadPoolExecutor(self.number, initializer=torch.set_num_threads, initargs=(1,))
            list(self._pool.map(lambda _: None, range(self.number)))
            torch.set_num_threads(threads)
        return list(self._pool.map(work, given))

    def mean_loss(
        self,
        loss_of: Callable[..., torch.Tensor],
        rows: Mapping[str, torch.Tensor],
        shared: Mapping[str, torch.Tensor],
        parameters: Sequence[torch.nn.Parameter],
    ) -> torch.Tensor:
        """The mean of `loss_of` each part, a scalar whose backward pass is done: it only hands out the gradients.

        `rows` (batch, ...) are shared out in turn, `shared` is given to all. Gradients are summed in the parts' order, so that they do not
        depend on who was first.
        """

        def part(number: int) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
            own = {name: tensor[number :: self.number] for name, tensor in rows.items()}
            loss = loss_of(**own, **shared) / self.number
            return loss.detach(), torch.autograd.grad(loss, parameters, materialize_grads=True)

        found = self.each(part, range(self.number))
        gradients = [cast(torch.Tensor, sum(one)) for one in zip(*(each for _, each in found), strict=True)]
        mean = torch.stack([loss for loss, _ in found]).sum()
        return cast(torch.Tensor, _Done.apply(mean, gradients, *parameters))


class _Done(torch.autograd.Function):
    """A loss whose gradients are known already."""

    @staticmethod
    def forward(ctx: Any, loss: torch.Tensor, gradients: list[torch.Tensor], *parameters: torch.Tensor) -> torch.Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, factor: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return None, None, *(gradient * factor for gradient in ctx.gradients)
