"""FLUX.2 for the training loop, for characters and for edits: what its transformer is given, and how its noise levels are shifted."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.engine.graphs import Recorder
from flenwheel_core.models.flux2.geometry import (
    PIXELS_PER_TOKEN,
    Latents,
    grid_of,
    log_shift,
    picture_places,
    reference_places,
    text_places,
)
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.transformer.character_task import CharacterItem, CharacterTask
from flenwheel_core.transformer.edit_task import PLAIN_AIM, Aim, EditLessonTask
from flenwheel_core.transformer.lesson_weights import EVEN, LessonWeights

KleinItem = CharacterItem[Tensor]
"""Its caption is (text tokens, channels)."""


class KleinTask(CharacterTask[Tensor]):
    """Batches and losses of a character LoRA for `run_loop`."""

    def texts(self, captions: Sequence[Tensor]) -> dict[str, Tensor]:
        return {"text": self.stacked(captions)}

    def text_tokens(self, caption: Tensor) -> int:
        return len(caption)

    def places(self, bucket: str, text_tokens: int) -> dict[str, Tensor]:
        width, height = (int(side) for side in bucket.split("x"))
        return {"text_places": text_places(text_tokens), "picture_places": picture_places(*grid_of((width, height)))}

    def shift(self, tokens: int) -> float:
        return math.exp(log_shift(tokens))

    def predict(self, noisy: Tensor, sigma: Tensor, **given: Tensor) -> Tensor:
        prediction: Tensor = self._transformer(
            hidden_states=noisy.to(self._dtype),
            encoder_hidden_states=given["text"].to(self._dtype),
            timestep=sigma,
            img_ids=given["picture_places"],
            txt_ids=given["text_places"],
            return_dict=False,
        )[0]
        return prediction


@dataclass(frozen=True)
class KleinLesson:
    """One triplet, ready to train on. Latents are float32."""

    result: Latents
    references: tuple[Latents, ...]
    """Clean, the source first."""
    prompt: Tensor
    """(text tokens, channels)."""
    empty: Tensor
    weights: LessonWeights = EVEN
    rejected: Tensor | None = None
    """(target tokens, channels): the other side of a pair."""

    @property
    def target(self) -> Tensor:
        return self.result.tokens

    @property
    def tokens(self) -> int:
        """Of target, references and prompt."""
        return len(self.target) + sum(len(one.tokens) for one in self.references) + len(self.prompt)

    @property
    def bucket(self) -> str:
        """Lessons of one bucket can share a batch."""
        side = PIXELS_PER_TOKEN
        return "+".join(f"{one.columns * side}x{one.rows * side}" for one in (self.result, *self.references))


class KleinEditTask(EditLessonTask[KleinLesson, Tensor]):
    """Batches and losses of an editor's LoRA for `run_loop`."""

    def __init__(
        self,
        adapted: AdaptedTransformer,
        recipe: TrainingRecipe,
        lessons: Sequence[KleinLesson],
        *,
        seed: int,
        dtype: torch.dtype,
        aim: Aim = PLAIN_AIM,
        recorder: Recorder | None = None,
    ) -> None:
        super().__init__(adapted.parameters, recipe, lessons, seed=seed, aim=aim, recorder=recorder)
        self._transformer = adapted.transformer
        self._dtype = dtype
        self._known_places: dict[tuple[str, int], dict[str, Tensor]] = {}

    def inputs(
        self, batch: Sequence[KleinLesson], noisy: Tensor, sigma: Tensor, prompts: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        references = self.stacked([torch.cat([one.tokens for one in lesson.references]) for lesson in batch])
        return {
            "hidden_states": torch.cat([noisy, references], dim=1).to(self._dtype),
            "timestep": sigma,
            "encoder_hidden_states": self.stacked(prompts).to(self._dtype),
            **self._places(batch[0], len(prompts[0])),
        }

    def _places(self, lesson: KleinLesson, text_tokens: int) -> dict[str, Tensor]:
        """Copied to the device once for each shape: a step must not wait for it."""
        key = lesson.bucket, text_tokens
        if key not in self._known_places:
            pictures = [picture_places(lesson.result.rows, lesson.result.columns), reference_places(lesson.references)]
            places = {"img_ids": torch.cat(pictures), "txt_ids": text_places(text_tokens)}
            self._known_places[key] = {name: tensor.to(self._device) for name, tensor in places.items()}
        return self._known_places[key]

    def predictor(self, batch: Sequence[KleinLesson]) -> Callable[..., Tensor]:
        target_tokens = len(batch[0].target)

        def predict(**inputs: Tensor) -> Tensor:
            prediction: Tensor = self._transformer(**inputs, return_dict=False)[0]
            return prediction[:, :target_tokens]

        return predict

    def shift(self, example: KleinLesson) -> float:
        return math.exp(log_shift(len(example.target)))
