"""A loss and its gradients as CUDA graphs: no launch costs, for steps that are shorter than their launching."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from flenwheel_core.base.errors import first_line
from flenwheel_core.memory.card import is_out_of_memory
from flenwheel_core.recipes.train import TrainingRecipe

MOST_GRAPHS = 32
"""Where there are more shapes, none is recorded: each graph takes some memory of host and card."""
_WARM_UP = 2


def records(recipe: TrainingRecipe, *, compiled: bool) -> bool:
    """Whether the steps of a recipe are recorded on a CUDA card."""
    return compiled if recipe.cuda_graphs is None else recipe.cuda_graphs


Key = tuple[tuple[str, torch.Size], ...]


@dataclass(frozen=True)
class _Known:
    """A function with inputs of certain shapes, which has run before: all that is compiled and allocated once is there."""

    function: Callable[..., torch.Tensor]
    inputs: Mapping[str, torch.Tensor]
    with_gradients: bool

    @property
    def size(self) -> int:
        return sum(tensor.numel() for tensor in self.inputs.values())


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: Mapping[str, torch.Tensor]
    output: torch.Tensor


class Recorder:
    """Calls functions of tensors through CUDA graphs, recorded once for every combination of shapes.

    All recordings share one memory pool, sized for the largest: they never run at the same time. For that, a new shape is first run
    as it is, while nothing is recorded, and then all shapes are recorded, the largest first. So memory is needed for one shape at a
    time, however many there are. A function that cannot be recorded runs as it is from then on, which `note` is told once.
    """

    def __init__(
        self, parameters: Sequence[torch.nn.Parameter], note: Callable[[str], None], *, shapes: int = 1
    ) -> None:
        """`shapes` is how many combinations are expected; `expect` says it later."""
        self._parameters = list(parameters)
        self._note = note
        self._known: dict[tuple[str, Key], _Known] = {}
        self._recordings: dict[tuple[str, Key], _Recording] = {}
        self._gradients: list[torch.Tensor] | None = None
        self._pool: Any = None
        self._stream: torch.cuda.Stream | None = None
        self.works = True
        """False once a recording has failed, and where there are too many shapes."""
        self.expect(shapes)

    def expect(self, shapes: int) -> None:
        """Says how many combinations there will be. With too many none is recorded, which `note` is told."""
        if shapes > MOST_GRAPHS and self.works:
            self.works = False
            self._note(
                f"steps run without CUDA graphs: {shapes} shapes are more than the {MOST_GRAPHS} that are recorded"
            )

    def loss(self, name: str, loss_of: Callable[..., torch.Tensor], inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """`loss_of(**inputs)`, a scalar; its `backward` gives the parameters their gradients."""

        recording = self._recording(name, self._with_gradients(loss_of), inputs, with_gradients=True)
        if recording is None:
            return loss_of(**inputs)
        assert self._gradients is not None
        if _shares_memory(self._parameters[0].grad, self._gradients[0]):
            for parameter in self._parameters:
                assert parameter.grad is not None
                parameter.grad = parameter.grad.clone()
        value = _replay(recording, inputs)
        return _Replayed.apply(value, self._gradients, *self._parameters)

    @torch.no_grad()
    def call(
        self, name: str, function: Callable[..., torch.Tensor], inputs: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """`function(**inputs)` without gradients.

        All that the outcome depends on must be set within `function`: it may be recorded again during another call.
        """
        recording = self._recording(name, function, inputs, with_gradients=False)
        return function(**inputs) if recording is None else _replay(recording, inputs)

    def prepare_loss(self, name: str, loss_of: Callable[..., torch.Tensor], inputs: Mapping[str, torch.Tensor]) -> None:
        """Makes a later `loss` with these shapes known before anything is recorded: each shape met later costs a recording of all."""
        self._prepare(name, self._with_gradients(loss_of), inputs, with_gradients=True)

    def prepare_call(
        self, name: str, function: Callable[..., torch.Tensor], inputs: Mapping[str, torch.Tensor]
    ) -> None:
        """As `prepare_loss`, for `call`."""
        self._prepare(name, function, inputs, with_gradients=False)

    def forget(self) -> None:
        """Give the graphs' memory back to the card; the next call records all known shapes again."""
        self._recordings.clear()
        self._gradients = None
        self._pool = None
        gc.collect()
        torch.cuda.empty_cache()

    def _with_gradients(self, loss_of: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def both(**given: torch.Tensor) -> torch.Tensor:
            value = loss_of(**given)
            # The last block's text is not part of the editor's answer: its adapters have no gradient.
            gradients = torch.autograd.grad(value, self._parameters, materialize_grads=True)
            if self._gradients is not None:
                torch._foreach_copy_(self._gradients, list(gradients))
            return value.detach()

        return both

    def _prepare(
        self,
        name: str,
        function: Callable[..., torch.Tensor],
        inputs: Mapping[str, torch.Tensor],
        *,
        with_gradients: bool,
    ) -> None:
        key = _key(name, inputs)
        if not self.works or key in self._known or len(self._known) >= MOST_GRAPHS:
            return
        if self._recordings:
            self.forget()
        known = _Known(function, {part: tensor.clone() for part, tensor in inputs.items()}, with_gradients)
        self._warm_up(known)
        self._known[key] = known

    def _recording(
        self,
        name: str,
        function: Callable[..., torch.Tensor],
        inputs: Mapping[str, torch.Tensor],
        *,
        with_gradients: bool,
    ) -> _Recording | None:
        key = _key(name, inputs)
        if key in self._recordings:
            return self._recordings[key]
        self._prepare(name, function, inputs, with_gradients=with_gradients)
        if key not in self._known:
            return None
        try:
            self._record_all()
        except (torch.cuda.OutOfMemoryError, RuntimeError) as error:
            self.works = False
            self._known.clear()
            self.forget()
            full = is_out_of_memory(error)
            cause = "there is no memory for them" if full else first_line(error)
            self._note(f"training goes on without CUDA graphs: {cause}")
            return None
        return self._recordings[key]

    def _warm_up(self, known: _Known) -> None:
        """Compiles, and lets libraries allocate what must not be allocated while recording."""
        with self._on_own_stream(), torch.set_grad_enabled(known.with_gradients):
            for _ in range(_WARM_UP):
                known.function(**known.inputs)
        gc.collect()
        torch.cuda.empty_cache()

    def _record_all(self) -> None:
        with self._on_own_stream():
            if self._gradients is None:
                self._gradients = [torch.zeros_like(parameter) for parameter in self._parameters]
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        waiting = [(key, known) for key, known in self._known.items() if key not in self._recordings]
        for key, known in sorted(waiting, key=lambda pair: pair[1].size, reverse=True):
            graph = torch.cuda.CUDAGraph()
            with (
                torch.set_grad_enabled(known.with_gradients),
                torch.cuda.graph(graph, pool=self._pool, stream=self._stream),
            ):
                output = known.function(**known.inputs)
            self._recordings[key] = _Recording(graph, known.inputs, output)

    @contextmanager
    def _on_own_stream(self) -> Iterator[None]:
        if self._stream is None:
            self._stream = torch.cuda.Stream()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            yield
        torch.cuda.current_stream().wait_stream(self._stream)
        torch.cuda.synchronize()


def _key(name: str, inputs: Mapping[str, torch.Tensor]) -> tuple[str, Key]:
    return name, tuple((part, tensor.shape) for part, tensor in sorted(inputs.items()))


class _Replayed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, gradients, *parameters):  # type: ignore[no-untyped-def]
        ctx.gradients = gradients
        return value

    @staticmethod
    def backward(ctx, factor):  # type: ignore[no-untyped-def]
        torch._foreach_mul_(ctx.gradients, factor)
        # Views, which autograd takes over as the parameters' gradients without a copy.
        return None, None, *(gradient.view_as(gradient) for gradient in ctx.gradients)


def _replay(recording: _Recording, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    for name, tensor in inputs.items():
        recording.inputs[name].copy_(tensor, non_blocking=True)
    recording.graph.replay()
    return recording.output.clone()


def _shares_memory(one: torch.Tensor | None, other: torch.Tensor) -> bool:
    return one is not None and one.data_ptr() == other.data_ptr()
