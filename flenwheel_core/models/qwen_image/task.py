"""Qwen-Image-Edit for the training loop: what its transformer is given, and how its noise levels are shifted."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from flenwheel_core.engine.graphs import Recorder
from flenwheel_core.models.qwen_image.conditioning import EditSizes, log_shift
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.transformer.edit_task import PLAIN_AIM, Aim, EditLessonTask
from flenwheel_core.transformer.lesson_weights import EVEN, LessonWeights

if TYPE_CHECKING:
    from diffusers import FlowMatchEulerDiscreteScheduler


@dataclass(frozen=True)
class EditExample:
    """One triplet, ready to train on. Latents are packed and float32."""

    sizes: EditSizes
    target: Tensor
    """(target tokens, channels)."""
    references: Tensor
    """(reference tokens, channels), clean."""
    prompt: Tensor
    """(text tokens, channels): the prompt with its pictures."""
    empty: Tensor
    """The same for an empty prompt: its pictures stay."""
    weights: LessonWeights = EVEN
    rejected: Tensor | None = None
    """(target tokens, channels): the other side of a pair."""

    @property
    def tokens(self) -> int:
        """Of target, references and the longer of the two prompts."""
        return len(self.target) + len(self.references) + max(len(self.prompt), len(self.empty))

    @property
    def bucket(self) -> str:
        """Examples of one bucket can share a batch."""
        return "+".join(f"{width}x{height}" for width, height in (self.sizes.target, *self.sizes.references))


class EditTask(EditLessonTask[EditExample, Tensor]):
    """Batches and losses of Qwen-Image-Edit for `run_loop`."""

    def __init__(
        self,
        transformer: torch.nn.Module,
        parameters: Mapping[str, torch.nn.Parameter],
        scheduler: "FlowMatchEulerDiscreteScheduler",
        recipe: TrainingRecipe,
        examples: Sequence[EditExample],
        *,
        seed: int,
        dtype: torch.dtype,
        aim: Aim = PLAIN_AIM,
        recorder: Recorder | None = None,
    ) -> None:
        super().__init__(parameters, recipe, examples, seed=seed, aim=aim, recorder=recorder)
        self._transformer = transformer
        self._scheduler = scheduler
        self._dtype = dtype

    def inputs(
        self, batch: Sequence[EditExample], noisy: Tensor, sigma: Tensor, prompts: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        references = self.stacked([example.references for example in batch])
        text, mask = padded(prompts)
        inputs = {
            "hidden_states": torch.cat([noisy, references], dim=1).to(self._dtype),
            "timestep": sigma.to(self._dtype),
            "encoder_hidden_states": text.to(self._device, self._dtype),
        }
        if mask is not None:
            inputs["encoder_hidden_states_mask"] = mask.to(self._device)
        return inputs

    def predictor(self, batch: Sequence[EditExample]) -> Callable[..., Tensor]:
        """The transformer for the sizes of a batch, which are all the same in a bucket."""
        sizes = batch[0].sizes
        shapes = [sizes.image_shapes()] * len(batch)

        def predict(**inputs: Tensor) -> Tensor:
            prediction: Tensor = self._transformer(**inputs, img_shapes=shapes, return_dict=False)[0]
            return prediction[:, : sizes.target_tokens]

        return predict

    def shift(self, example: EditExample) -> float:
        return math.exp(log_shift(self._scheduler, example.sizes.target_tokens))


def padded(prompts: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Prompts (batch, tokens, channels) padded at the end, with a mask only if something is padded: a mask costs the fast paths."""
    if len({len(prompt) for prompt in prompts}) == 1:
        return torch.stack(list(prompts)), None
    mask = pad_sequence([torch.ones(len(prompt), dtype=torch.bool) for prompt in prompts], batch_first=True)
    return pad_sequence(list(prompts), batch_first=True), mask
