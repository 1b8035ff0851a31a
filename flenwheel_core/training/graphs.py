"""A loss and its gradients as one CUDA graph: no launch costs, for steps that are shorter than their launching."""

from collections.abc import Callable, Mapping, Sequence

import torch


class GraphedLoss:
    """Records `loss_of(**inputs)` and its backward pass once; afterwards a step is copies and one launch.

    All inputs must keep their shapes. The gradients are the same tensors each time: use them before the next call.
    """

    def __init__(
        self,
        loss_of: Callable[..., torch.Tensor],
        inputs: Mapping[str, torch.Tensor],
        parameters: Sequence[torch.nn.Parameter],
    ) -> None:
        self._inputs = {name: tensor.clone() for name, tensor in inputs.items()}
        self._parameters = parameters
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                torch.autograd.grad(loss_of(**self._inputs), parameters)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss = loss_of(**self._inputs)
            self._gradients = torch.autograd.grad(self._loss, parameters)

    def __call__(self, **inputs: torch.Tensor) -> torch.Tensor:
        """The loss; every parameter's `grad` is set."""
        for name, tensor in inputs.items():
            self._inputs[name].copy_(tensor, non_blocking=True)
        self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._loss.detach().clone()
