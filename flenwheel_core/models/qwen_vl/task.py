"""A vision-language model's lessons for the training loop: batches, and the loss of their answers."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from flenwheel_core.engine.graphs import Recorder
from flenwheel_core.engine.order import Order
from flenwheel_core.models.qwen_vl.language import FastLanguage
from flenwheel_core.models.qwen_vl.texts import Shape, VlExample, batch_of, shapes_of
from flenwheel_core.recipes.train import TrainingRecipe


class VlTask:
    """Captions, judgements and reasons alike: each answer counts as one, however long it is."""

    def __init__(
        self,
        language: FastLanguage,
        recipe: TrainingRecipe,
        examples: Sequence[VlExample],
        *,
        seed: int,
        recorder: Recorder | None = None,
    ) -> None:
        """`recorder` runs forward and backward passes as CUDA graphs."""
        self._language = language
        self._recipe = recipe
        self._examples = examples
        self._shapes = shapes_of(examples)
        self._recorder = recorder
        self._prepared = False
        self._order = Order(
            tuple(shape.bucket for shape in self._shapes),
            tuple(example.weight for example in examples),
            recipe.batch_size,
            seed,
        )

    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        return self._language.lora

    def sample(self, step: int) -> None:
        """Nothing is said while it learns: held-out answers are looked at after it."""

    def loss(self, index: int) -> Tensor:
        """The mean loss of the answers of forward pass `index`."""
        chosen = self._order.batch(index)
        arguments = self._arguments([self._examples[place] for place in chosen], self._shapes[chosen[0]])
        if self._recorder is None:
            return self.loss_of(**arguments)
        if not self._prepared:
            self._prepare(self._recorder)
        return self._recorder.loss("loss", self.loss_of, arguments)

    def loss_of(self, kept: Tensor, answers: Tensor, shares: Tensor, **given: Tensor) -> Tensor:
        """The loss of a batch as `batch_of` makes it: mean over answers of the mean over an answer's tokens."""
        losses = self._language.losses(self._language.hidden(**given), kept, answers)
        return (losses * shares).sum() / len(losses)

    def _prepare(self, recorder: Recorder) -> None:
        """Every shape before the first step: all are then recorded once."""
        self._prepared = True
        for shape in dict.fromkeys(self._shapes):
            batch = [self._examples[self._shapes.index(shape)]] * self._recipe.batch_size
            recorder.prepare_loss("loss", self.loss_of, self._arguments(batch, shape))

    def _arguments(self, batch: Sequence[VlExample], shape: Shape) -> dict[str, Tensor]:
        made = batch_of(batch, shape, self._language.geometry, self._language.embeddings)
        device = self._language.device
        if device.type != "cuda":
            return made
        return {name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in made.items()}
