"""An editor's LoRA for the training loop, whatever the family: noisy target tokens beside clean references, loss on the target alone."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

from flenwheel_core.engine.edit_job import EditTrainJob
from flenwheel_core.engine.flow_matching import flow_loss, noisy_input, sigma_of_uniform, velocity_target
from flenwheel_core.engine.graphs import Recorder
from flenwheel_core.engine.order import Order
from flenwheel_core.engine.randomness import normal, uniform
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.transformer.lesson_weights import LessonWeights
from flenwheel_core.transformer.preference import pair_losses

Prompt = TypeVar("Prompt", bound=Sized)
"""An encoded prompt, as the family has it; its length is the number of text tokens that the transformer reads."""
Prompt_co = TypeVar("Prompt_co", bound=Sized, covariant=True)


class EditLike(Protocol[Prompt_co]):
    """One triplet, ready to train on. Latents are packed and float32."""

    @property
    def target(self) -> Tensor:
        """(target tokens, channels)."""

    @property
    def prompt(self) -> Prompt_co: ...

    @property
    def empty(self) -> Prompt_co:
        """The same for an empty prompt."""

    @property
    def rejected(self) -> Tensor | None:
        """(target tokens, channels): what the editor had made of it, if the lesson is taught as a pair."""

    @property
    def weights(self) -> LessonWeights: ...

    @property
    def bucket(self) -> str:
        """Examples of one bucket can share a batch."""


Lesson = TypeVar("Lesson", bound=EditLike[Any])


@dataclass(frozen=True)
class Aim:
    """What is aimed at: distilled guidance, the bare editor's own prediction where it was right, and better answers than rejected ones."""

    guidance: float = 1.0
    """Strength of the guidance that is distilled into the editor; 1: none. Such an editor predicts
    `empty + guidance * (asked - empty)` (Meng et al. 2023), so a target without it would train the guidance out again."""
    anchor: float = 0.0
    """How far the target is the bare editor's own prediction where its answer was right; 0: not at all, 1: entirely."""
    bare: Callable[[], AbstractContextManager[None]] = nullcontext
    """The editor without the LoRA in training, within this context."""
    answer: bool = True
    """A pair teaches the right picture."""
    strength: float = 0.0
    """Of the comparison with the rejected picture that a pair teaches (beta of DPO); 0: none."""

    @classmethod
    def of(cls, job: EditTrainJob, bare: Callable[[], AbstractContextManager[None]]) -> Self:
        """What a job asks for; `bare` is the editor without its LoRA."""
        strength = job.comparison_strength if job.compares else 0.0
        return cls(job.distilled_guidance, job.anchor, bare, job.corrections_teach != "comparison", strength)


PLAIN_AIM = Aim()


class EditLessonTask(ABC, Generic[Lesson, Prompt]):
    """Batches and losses for `run_loop`. A family says what its transformer is given: `inputs`, `predictor` and `shift`."""

    def __init__(
        self,
        parameters: Mapping[str, torch.nn.Parameter],
        recipe: TrainingRecipe,
        examples: Sequence[Lesson],
        *,
        seed: int,
        aim: Aim = PLAIN_AIM,
        recorder: Recorder | None = None,
    ) -> None:
        """`recorder` runs forward and backward passes as CUDA graphs."""
        self._aim = aim
        self._recorder = recorder
        self._parameters = parameters
        self._recipe = recipe
        self._examples = examples
        self._seed = seed
        self._prepared = False
        self._device = next(iter(parameters.values())).device
        self._order = Order(
            tuple(self._group(example) for example in examples),
            tuple(example.weights.frequency for example in examples),
            recipe.batch_size,
            seed,
        )

    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        return self._parameters

    def sample(self, step: int) -> None:
        """Nothing is drawn while the editor trains: the comparison on held-out edits comes after it."""

    def loss(self, index: int) -> Tensor:
        """The loss of forward pass `index`: everything random in it derives from (seed, index)."""
        batch = [self._examples[number] for number in self._order.batch(index)]
        dropped = [not self._is_pair(e) and self._is_dropped(index, place) for place, e in enumerate(batch)]
        if self._recorder is None:
            return self._loss_of(batch)(**self._arguments(index, batch, dropped))
        if not self._prepared:
            self._prepare(self._recorder)
        name, arguments = f"loss {self._group(batch[0])}", self._arguments(index, batch, dropped)
        return self._recorder.loss(name, self._loss_of(batch), arguments)

    def _is_pair(self, example: Lesson) -> bool:
        return self._aim.strength > 0 and example.rejected is not None

    def _group(self, example: Lesson) -> str:
        """Examples of one group share batches: pairs are taught apart."""
        return f"{example.bucket} pair" if self._is_pair(example) else example.bucket

    def _prepare(self, recorder: Recorder) -> None:
        """Every shape before the first step: all are then recorded once."""
        self._prepared = True
        for example, dropped in shapes_of(self._examples, self._recipe):
            batch = [example] * self._recipe.batch_size
            arguments = self._arguments(0, batch, [dropped] * len(batch), only_prepare=True)
            recorder.prepare_loss(f"loss {self._group(example)}", self._loss_of(batch), arguments)

    def _loss_of(self, batch: Sequence[Lesson]) -> Callable[..., Tensor]:
        if self._is_pair(batch[0]):
            return self._pair_loss_of(batch)
        predict = self.predictor(batch)

        def loss_of(target: Tensor, region: Tensor | None = None, **given: Tensor) -> Tensor:
            return flow_loss(predict(**given), target, region).mean()

        return loss_of

    def _pair_loss_of(self, batch: Sequence[Lesson]) -> Callable[..., Tensor]:
        """The supervised loss on the right pictures, if they are taught, and the comparison with the rejected ones."""
        predict, aim = self.predictor([*batch, *batch]), self._aim
        anchor = 0.0 if aim.answer else aim.anchor  # the supervised loss holds it already

        def loss_of(
            target: Tensor,
            pair: Tensor,
            reference: Tensor,
            wrong: Tensor,
            region: Tensor | None = None,
            **given: Tensor,
        ) -> Tensor:
            prediction = predict(**given)
            loss = pair_losses(prediction, pair, reference, wrong, strength=aim.strength, anchor=anchor).mean()
            if aim.answer:
                loss = loss + flow_loss(prediction[: len(target)], target, region).mean()
            return loss

        return loss_of

    def _arguments(
        self, index: int, batch: Sequence[Lesson], dropped: Sequence[bool], *, only_prepare: bool = False
    ) -> dict[str, Tensor]:
        """What `_loss_of` is given for these examples; with `dropped`, the prompt is left empty."""
        places = range(len(batch))
        clean = self.stacked([example.target for example in batch])
        noise = self.stacked(
            [normal(tuple(e.target.shape), self._seed, "noise", index, p) for p, e in zip(places, batch, strict=True)]
        )
        sigma = self._sigma(index, batch).to(self._device)
        prompts = [e.empty if without else e.prompt for without, e in zip(dropped, batch, strict=True)]
        noisy = noisy_input(clean, noise, sigma)
        target = velocity_target(clean, noise)
        if self._is_pair(batch[0]):
            return self._pair_arguments(batch, noise, sigma, prompts, only_prepare=only_prepare)
        if only_prepare:
            self._prepare_bare(batch, noisy, sigma, prompts)
        else:
            target = self._aimed(batch, target, noisy, sigma, prompts, dropped)
        arguments = {**self.inputs(batch, noisy, sigma, prompts), "target": target}
        region = self._regions(batch)
        if region is not None:
            arguments["region"] = region
        return arguments

    def _pair_arguments(
        self, batch: Sequence[Lesson], noise: Tensor, sigma: Tensor, prompts: Sequence[Prompt], *, only_prepare: bool
    ) -> dict[str, Tensor]:
        """What `_pair_loss_of` is given: right and rejected pictures one after the other, at the same noise."""
        both, texts, levels = [*batch, *batch], [*prompts, *prompts], torch.cat([sigma, sigma])
        latents = [*(e.target for e in batch), *(e.rejected for e in batch if e.rejected is not None)]
        clean, same = self.stacked(latents), torch.cat([noise, noise])
        noisy, flow = noisy_input(clean, same, levels), velocity_target(clean, same)
        inputs = self.inputs(both, noisy, levels, texts)
        wrong = self.stacked([_everywhere(e) if e.weights.wrong is None else e.weights.wrong for e in batch])
        reference, guided = flow, flow
        if only_prepare:
            assert self._recorder is not None
            self._recorder.prepare_call(f"bare {self._group(batch[0])}", self._bare_predictor(both), inputs)
            if self._aim.guidance != 1.0:
                unasked = self.inputs(both, noisy, levels, [example.empty for example in both])
                self._recorder.prepare_call(f"bare {self._group(batch[0])}", self._bare_predictor(both), unasked)
        else:
            reference = self._bare_prediction(both, noisy, levels, texts)
            guided = self._guided(both, flow, noisy, levels, [False] * len(both))
        half = len(batch)
        aimed = self._anchored(guided[:half], reference[:half], wrong)
        arguments = {**inputs, "target": aimed, "pair": guided, "reference": reference, "wrong": wrong}
        region = self._regions(batch)
        if region is not None and self._aim.answer:
            arguments["region"] = region
        return arguments

    def _prepare_bare(self, batch: Sequence[Lesson], noisy: Tensor, sigma: Tensor, prompts: Sequence[Prompt]) -> None:
        assert self._recorder is not None
        empties = [[example.empty for example in batch]] if self._aim.guidance != 1.0 else []
        for texts in [*empties, *([prompts] if self._aim.anchor > 0 else [])]:
            inputs = self.inputs(batch, noisy, sigma, texts)
            self._recorder.prepare_call(f"bare {self._group(batch[0])}", self._bare_predictor(batch), inputs)

    @torch.no_grad()
    def _aimed(
        self,
        batch: Sequence[Lesson],
        target: Tensor,
        noisy: Tensor,
        sigma: Tensor,
        prompts: Sequence[Prompt],
        dropped: Sequence[bool],
    ) -> Tensor:
        """The target (batch, target tokens, channels) with the editor's distilled guidance, and its own right answers kept."""
        target = self._guided(batch, target, noisy, sigma, dropped)
        if self._aim.anchor == 0:
            return target
        wrong = self.stacked([_everywhere(e) if e.weights.wrong is None else e.weights.wrong for e in batch])
        return self._anchored(target, self._bare_prediction(batch, noisy, sigma, prompts), wrong)

    @torch.no_grad()
    def _guided(
        self, batch: Sequence[Lesson], target: Tensor, noisy: Tensor, sigma: Tensor, dropped: Sequence[bool]
    ) -> Tensor:
        """The target with the editor's distilled guidance."""
        guidance = self._aim.guidance
        if guidance == 1.0:
            return target
        empty = self._bare_prediction(batch, noisy, sigma, [example.empty for example in batch])
        factor = torch.tensor([1.0 if without else guidance for without in dropped], device=target.device)
        return empty + factor.reshape(-1, 1, 1) * (target - empty)

    def _anchored(self, target: Tensor, own: Tensor, wrong: Tensor) -> Tensor:
        """The target with the bare editor's own prediction where it was not wrong, as far as it is anchored."""
        return target + self._aim.anchor * (1 - wrong) * (own - target)

    def predict(self, batch: Sequence[Lesson], noisy: Tensor, sigma: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        """Velocity (batch, target tokens, channels): the prediction for the reference tokens is cut off."""
        return self.predictor(batch)(**self.inputs(batch, noisy, sigma, prompts))

    def _bare_prediction(
        self, batch: Sequence[Lesson], noisy: Tensor, sigma: Tensor, prompts: Sequence[Prompt]
    ) -> Tensor:
        """As `predict`, by the editor without the LoRA in training, and without gradients."""
        predict, inputs = self._bare_predictor(batch), self.inputs(batch, noisy, sigma, prompts)
        if self._recorder is None:
            return predict(**inputs).float()
        return self._recorder.call(f"bare {self._group(batch[0])}", predict, inputs).float()

    def _bare_predictor(self, batch: Sequence[Lesson]) -> Callable[..., Tensor]:
        predict = self.predictor(batch)

        @torch.no_grad()
        def bare(**inputs: Tensor) -> Tensor:
            with self._aim.bare():
                return predict(**inputs)

        return bare

    # what a family says

    @abstractmethod
    def inputs(
        self, batch: Sequence[Lesson], noisy: Tensor, sigma: Tensor, prompts: Sequence[Prompt]
    ) -> dict[str, Tensor]:
        """What the transformer is given for noisy targets (batch, target tokens, channels) at noise levels sigma (batch,)."""

    @abstractmethod
    def predictor(self, batch: Sequence[Lesson]) -> Callable[..., Tensor]:
        """The transformer for the sizes of a batch, which are all the same in a bucket: velocity of the target tokens alone."""

    @abstractmethod
    def shift(self, example: Lesson) -> float:
        """The factor by which the family's pipeline shifts noise levels for targets of this size."""

    def _sigma(self, index: int, batch: Sequence[Lesson]) -> Tensor:
        """Noise levels (batch,), shifted as the model's own scheduler does."""
        shift = self._recipe.sigma.shift
        factor = self.shift(batch[0]) if shift == "resolution" else 1.0 if isinstance(shift, str) else float(shift)
        numbers = torch.tensor([uniform(self._seed, "sigma", index, place) for place in range(len(batch))])
        return sigma_of_uniform(numbers, self._recipe.sigma, shift=factor)

    def _is_dropped(self, index: int, place: int) -> bool:
        return uniform(self._seed, "caption", index, place) < self._recipe.caption_dropout

    def _regions(self, batch: Sequence[Lesson]) -> Tensor | None:
        if all(example.weights.region is None for example in batch):
            return None
        return self.stacked([_everywhere(e) if e.weights.region is None else e.weights.region for e in batch])

    def stacked(self, tensors: Sequence[Tensor]) -> Tensor:
        """Tensors of the examples as one, on the device."""
        stacked = torch.stack(list(tensors))
        if self._device.type == "cuda":
            return stacked.pin_memory().to(self._device, non_blocking=True)
        return stacked


Shape = tuple[str, int, bool, bool]


def shapes_of(examples: Sequence[Lesson], recipe: TrainingRecipe) -> list[tuple[Lesson, bool]]:
    """One example, and whether its prompt is left out, for each shape that steps will have."""
    found: dict[Shape, tuple[Lesson, bool]] = {}
    for example in examples:
        for dropped in (False, True) if recipe.caption_dropout > 0 else (False,):
            tokens = len(example.empty if dropped else example.prompt)
            pair = example.rejected is not None
            if not (pair and dropped):  # pairs are never taught without their prompt
                found.setdefault((example.bucket, tokens, example.weights.region is not None, pair), (example, dropped))
    return list(found.values())


def _everywhere(example: EditLike[Any]) -> Tensor:
    return torch.ones(example.target.shape[0], 1)
