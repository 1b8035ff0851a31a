"""FLUX.1 Kontext for the training loop: what its transformer is given, and how its noise levels are shifted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.engine.flow_matching import shift_factor_for_tokens
from flenwheel_core.engine.graphs import Recorder
from flenwheel_core.models.flux1.encoding import Caption
from flenwheel_core.models.flux1.packing import PIXELS_PER_TOKEN, image_ids
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.transformer.edit_task import PLAIN_AIM, Aim, EditLessonTask
from flenwheel_core.transformer.lesson_weights import EVEN, LessonWeights


@dataclass(frozen=True)
class KontextLesson:
    """One triplet, ready to train on. Source and target have one size; latents are packed and float32."""

    width: int
    height: int
    target: Tensor
    """(target tokens, channels)."""
    source: Tensor
    """(target tokens, channels), clean."""
    prompt: Caption
    empty: Caption
    weights: LessonWeights = EVEN
    rejected: Tensor | None = None
    """(target tokens, channels): the other side of a pair."""

    @property
    def tokens(self) -> int:
        """Of target, source and prompt."""
        return len(self.target) + len(self.source) + len(self.prompt)

    @property
    def bucket(self) -> str:
        """Lessons of one bucket can share a batch."""
        return f"{self.width}x{self.height}"


class KontextTask(EditLessonTask[KontextLesson, Caption]):
    """Batches and losses of an editor's LoRA for `run_loop`."""

    def __init__(
        self,
        adapted: AdaptedTransformer,
        recipe: TrainingRecipe,
        lessons: Sequence[KontextLesson],
        *,
        seed: int,
        dtype: torch.dtype,
        guides: bool = True,
        aim: Aim = PLAIN_AIM,
        recorder: Recorder | None = None,
    ) -> None:
        """`guides`: the transformer is told a guidance, as FLUX.1-dev's is."""
        super().__init__(adapted.parameters, recipe, lessons, seed=seed, aim=aim, recorder=recorder)
        self._transformer = adapted.transformer
        self._dtype = dtype
        self._guides = guides
        self._known_places: dict[tuple[str, int], dict[str, Tensor]] = {}

    def inputs(
        self, batch: Sequence[KontextLesson], noisy: Tensor, sigma: Tensor, prompts: Sequence[Caption]
    ) -> dict[str, Tensor]:
        sources = self.stacked([lesson.source for lesson in batch])
        inputs = {
            "hidden_states": torch.cat([noisy, sources], dim=1).to(self._dtype),
            "encoder_hidden_states": self.stacked([prompt.sequence for prompt in prompts]).to(self._dtype),
            "pooled_projections": self.stacked([prompt.pooled for prompt in prompts]).to(self._dtype),
            "timestep": sigma,
            **self._places(batch[0], len(prompts[0])),
        }
        if self._guides:
            inputs["guidance"] = torch.full_like(sigma, self._recipe.guidance, dtype=torch.float32)
        return inputs

    def _places(self, lesson: KontextLesson, text_tokens: int) -> dict[str, Tensor]:
        """Copied to the device once for each shape: a step must not wait for it."""
        key = lesson.bucket, text_tokens
        if key not in self._known_places:
            places = {
                "img_ids": edit_ids(lesson.height // PIXELS_PER_TOKEN, lesson.width // PIXELS_PER_TOKEN),
                "txt_ids": torch.zeros(text_tokens, 3),
            }
            self._known_places[key] = {name: tensor.to(self._device) for name, tensor in places.items()}
        return self._known_places[key]

    def predictor(self, batch: Sequence[KontextLesson]) -> Callable[..., Tensor]:
        target_tokens = len(batch[0].target)

        def predict(**inputs: Tensor) -> Tensor:
            prediction: Tensor = self._transformer(**inputs, return_dict=False)[0]
            return prediction[:, :target_tokens]

        return predict

    def shift(self, example: KontextLesson) -> float:
        return shift_factor_for_tokens(len(example.target))


def edit_ids(rows: int, columns: int) -> Tensor:
    """(2 * rows * columns, 3) for an edit and its source of the same size: the source is told apart by 1 in the first axis."""
    source = image_ids(rows, columns)
    source[:, 0] = 1
    return torch.cat([image_ids(rows, columns), source])
