"""A loss and its gradients as CUDA graphs: no launch costs, for steps that are shorter than their launching."""

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from flenwheel_core.recipes.train import TrainingRecipe

MOST_GRAPHS = 16
"""Shapes beyond so many run without a graph: each graph takes some memory of host and card."""


def records(recipe: TrainingRecipe, *, compiled: bool) -> bool:
    """Whether the steps of a recipe are recorded on a CUDA card."""
    return compiled if recipe.cuda_graphs is None else recipe.cuda_graphs


Key = tuple[tuple[str, torch.Size], ...]


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: Mapping[str, torch.Tensor]
    output: torch.Tensor


class Recorder:
    """Calls functions of tensors through CUDA graphs, recorded once for every combination of shapes.

    All recordings share one memory pool: they never run at the same time. A function that cannot be recorded runs as it
    is from then on, which `note` is told once.
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter], note: Callable[[str], None]) -> None:
        self._parameters = list(parameters)
        self._note = note
        self._recordings: dict[tuple[str, Key], _Recording] = {}
        self._gradients: list[torch.Tensor] | None = None
        self._pool: Any = None
        self.works = True
        """False once a recording has failed."""

    def loss(self, name: str, loss_of: Callable[..., torch.Tensor], inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """`loss_of(**inputs)`, a scalar; its `backward` gives the parameters their gradients."""

        def both(**given: torch.Tensor) -> torch.Tensor:
            value = loss_of(**given)
            # The last block's text is not part of the editor's answer: its adapters have no gradient.
            gradients = torch.autograd.grad(value, self._parameters, materialize_grads=True)
            if self._gradients is not None:
                torch._foreach_copy_(self._gradients, list(gradients))
            return value.detach()

        if self._gradients is None:
            self._gradients = [torch.zeros_like(parameter) for parameter in self._parameters]
        recording = self._recording(name, both, inputs)
        if recording is None:
            return loss_of(**inputs)
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
        """`function(**inputs)` without gradients."""
        recording = self._recording(name, function, inputs)
        return function(**inputs) if recording is None else _replay(recording, inputs)

    def forget(self) -> None:
        """Give the graphs' memory back to the card; the next calls record again."""
        self._recordings.clear()
        self._gradients = None
        self._pool = None
        gc.collect()
        torch.cuda.empty_cache()

    def _recording(
        self, name: str, function: Callable[..., torch.Tensor], inputs: Mapping[str, torch.Tensor]
    ) -> _Recording | None:
        key = name, tuple((part, tensor.shape) for part, tensor in sorted(inputs.items()))
        if key in self._recordings:
            return self._recordings[key]
        if not self.works or len(self._recordings) >= MOST_GRAPHS:
            return None
        try:
            self._recordings[key] = self._record(function, inputs)
        except torch.cuda.OutOfMemoryError:
            if not self._recordings:
                raise
            # Trying a new shape takes its memory beside that of the recordings; without them there is room.
            self.works = False
            self._note(
                "training goes on without CUDA graphs: another shape does not fit the card beside the recorded ones"
            )
            self.forget()
            return None
        except RuntimeError as error:
            self.works = False
            self._note(f"training goes on without CUDA graphs: {str(error).splitlines()[0]}")
            return None
        return self._recordings[key]

    def _record(self, function: Callable[..., torch.Tensor], inputs: Mapping[str, torch.Tensor]) -> _Recording:
        kept = {name: tensor.clone() for name, tensor in inputs.items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):  # compiles, and lets libraries allocate what must not be allocated while recording
                function(**kept)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        gc.collect()
        torch.cuda.empty_cache()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            output = function(**kept)
        return _Recording(graph, kept, output)


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
