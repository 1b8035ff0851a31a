"""Qwen-Image-Edit for the training loop: noisy target tokens beside clean reference tokens, loss on the target alone."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from flenwheel_core.engine.flow_matching import flow_loss, noisy_input, sigma_of_uniform, velocity_target
from flenwheel_core.engine.graphs import Recorder
from flenwheel_core.engine.order import Order
from flenwheel_core.engine.randomness import normal, uniform
from flenwheel_core.models.qwen_image.conditioning import EditSizes, shift_of
from flenwheel_core.recipes.train import TrainingRecipe

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
    region: Tensor | None = None
    """(target tokens, 1) loss weights."""
    wrong: Tensor | None = None
    """(target tokens, 1), 0 to 1: where the editor's own answer was wrong. None: everywhere, nobody knows that answer."""
    weight: float = 1.0

    @property
    def tokens(self) -> int:
        """Of target, references and the longer of the two prompts."""
        return len(self.target) + len(self.references) + max(len(self.prompt), len(self.empty))

    @property
    def bucket(self) -> str:
        """Examples of one bucket can share a batch."""
        return "+".join(f"{width}x{height}" for width, height in (self.sizes.target, *self.sizes.references))


@dataclass(frozen=True)
class Aim:
    """Two changes to the training target: distilled guidance, and the bare editor's own prediction where it was right."""

    guidance: float = 1.0
    """Strength of the guidance that is distilled into the editor; 1: none. Such an editor predicts
    `empty + guidance * (asked - empty)` (Meng et al. 2023), so a target without it would train the guidance out again."""
    anchor: float = 0.0
    """How far the target is the bare editor's own prediction where its answer was right; 0: not at all, 1: entirely."""
    bare: Callable[[], AbstractContextManager[None]] = nullcontext
    """The editor without the LoRA in training, within this context."""


PLAIN_AIM = Aim()


class EditTask:
    """Batches and losses for `run_loop`."""

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
        """`recorder` runs forward and backward passes as CUDA graphs."""
        self._aim = aim
        self._recorder = recorder
        self._transformer = transformer
        self._parameters = parameters
        self._scheduler = scheduler
        self._recipe = recipe
        self._examples = examples
        self._seed = seed
        self._dtype = dtype
        self._prepared = False
        self._device = next(iter(parameters.values())).device
        self._order = Order(
            tuple(example.bucket for example in examples),
            tuple(example.weight for example in examples),
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
        dropped = [self._is_dropped(index, place) for place in range(len(batch))]
        if self._recorder is None:
            return self._loss_of(batch)(**self._arguments(index, batch, dropped))
        if not self._prepared:
            self._prepare(self._recorder)
        name, arguments = f"loss {batch[0].bucket}", self._arguments(index, batch, dropped)
        return self._recorder.loss(name, self._loss_of(batch), arguments)

    def _prepare(self, recorder: Recorder) -> None:
        """Every shape before the first step: all are then recorded once."""
        self._prepared = True
        for example, dropped in shapes_of(self._examples, self._recipe):
            batch = [example] * self._recipe.batch_size
            arguments = self._arguments(0, batch, [dropped] * len(batch), only_prepare=True)
            recorder.prepare_loss(f"loss {example.bucket}", self._loss_of(batch), arguments)

    def _loss_of(self, batch: Sequence[EditExample]) -> Callable[..., Tensor]:
        predict = self._predictor(batch)

        def loss_of(target: Tensor, region: Tensor | None = None, **given: Tensor) -> Tensor:
            return flow_loss(predict(**given), target, region).mean()

        return loss_of

    def _arguments(
        self, index: int, batch: Sequence[EditExample], dropped: Sequence[bool], *, only_prepare: bool = False
    ) -> dict[str, Tensor]:
        """What `_loss_of` is given for these examples; with `dropped`, the prompt is left empty."""
        places = range(len(batch))
        clean = self._stack([example.target for example in batch])
        noise = self._stack(
            [normal(tuple(e.target.shape), self._seed, "noise", index, p) for p, e in zip(places, batch, strict=True)]
        )
        sigma = self._sigma(index, batch).to(self._device)
        prompts = [e.empty if without else e.prompt for without, e in zip(dropped, batch, strict=True)]
        noisy = noisy_input(clean, noise, sigma)
        target = velocity_target(clean, noise)
        if only_prepare:
            self._prepare_bare(batch, noisy, sigma, prompts)
        else:
            target = self._aimed(batch, target, noisy, sigma, prompts, dropped)
        arguments = {**self._inputs(batch, noisy, sigma, prompts), "target": target}
        region = self._regions(batch)
        if region is not None:
            arguments["region"] = region
        return arguments

    def _prepare_bare(
        self, batch: Sequence[EditExample], noisy: Tensor, sigma: Tensor, prompts: Sequence[Tensor]
    ) -> None:
        assert self._recorder is not None
        empties = [[example.empty for example in batch]] if self._aim.guidance != 1.0 else []
        for texts in [*empties, *([prompts] if self._aim.anchor > 0 else [])]:
            inputs = self._inputs(batch, noisy, sigma, texts)
            self._recorder.prepare_call(f"bare {batch[0].bucket}", self._bare_predictor(batch), inputs)

    @torch.no_grad()
    def _aimed(
        self,
        batch: Sequence[EditExample],
        target: Tensor,
        noisy: Tensor,
        sigma: Tensor,
        prompts: Sequence[Tensor],
        dropped: Sequence[bool],
    ) -> Tensor:
        """The target (batch, target tokens, channels) with the editor's distilled guidance, and its own right answers kept."""
        aim = self._aim
        if aim.guidance == 1.0 and aim.anchor == 0.0:
            return target
        if aim.guidance != 1.0:
            empty = self._bare_prediction(batch, noisy, sigma, [example.empty for example in batch])
            strength = [1.0 if without else aim.guidance for without in dropped]
            factor = torch.tensor(strength, device=target.device).reshape(-1, 1, 1)
            target = empty + factor * (target - empty)
        if aim.anchor > 0:
            right = 1 - self._stack([_everywhere(e) if e.wrong is None else e.wrong for e in batch])
            own = self._bare_prediction(batch, noisy, sigma, prompts)
            target = target + aim.anchor * right * (own - target)
        return target

    def predict(self, batch: Sequence[EditExample], noisy: Tensor, sigma: Tensor, prompts: Sequence[Tensor]) -> Tensor:
        """Velocity (batch, target tokens, channels): the prediction for the reference tokens is cut off."""
        return self._predictor(batch)(**self._inputs(batch, noisy, sigma, prompts))

    def _bare_prediction(
        self, batch: Sequence[EditExample], noisy: Tensor, sigma: Tensor, prompts: Sequence[Tensor]
    ) -> Tensor:
        """As `predict`, by the editor without the LoRA in training, and without gradients."""
        predict, inputs = self._bare_predictor(batch), self._inputs(batch, noisy, sigma, prompts)
        if self._recorder is None:
            return predict(**inputs).float()
        return self._recorder.call(f"bare {batch[0].bucket}", predict, inputs).float()

    def _bare_predictor(self, batch: Sequence[EditExample]) -> Callable[..., Tensor]:
        predict = self._predictor(batch)

        @torch.no_grad()
        def bare(**inputs: Tensor) -> Tensor:
            with self._aim.bare():
                return predict(**inputs)

        return bare

    def _inputs(
        self, batch: Sequence[EditExample], noisy: Tensor, sigma: Tensor, prompts: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        references = self._stack([example.references for example in batch])
        text, mask = _padded(prompts)
        inputs = {
            "hidden_states": torch.cat([noisy, references], dim=1).to(self._dtype),
            "timestep": sigma.to(self._dtype),
            "encoder_hidden_states": text.to(self._device, self._dtype),
        }
        if mask is not None:
            inputs["encoder_hidden_states_mask"] = mask.to(self._device)
        return inputs

    def _predictor(self, batch: Sequence[EditExample]) -> Callable[..., Tensor]:
        """The transformer for the sizes of a batch, which are all the same in a bucket."""
        sizes = batch[0].sizes
        shapes = [sizes.image_shapes()] * len(batch)

        def predict(**inputs: Tensor) -> Tensor:
            prediction: Tensor = self._transformer(**inputs, img_shapes=shapes, return_dict=False)[0]
            return prediction[:, : sizes.target_tokens]

        return predict

    def _sigma(self, index: int, batch: Sequence[EditExample]) -> Tensor:
        """Noise levels (batch,), shifted as the model's own scheduler does for this many target tokens."""
        shift = self._recipe.sigma.shift
        if shift == "resolution":
            factor = math.exp(shift_of(self._scheduler, batch[0].sizes.target_tokens))
        else:
            factor = 1.0 if isinstance(shift, str) else float(shift)
        numbers = torch.tensor([uniform(self._seed, "sigma", index, place) for place in range(len(batch))])
        return sigma_of_uniform(numbers, self._recipe.sigma, shift=factor)

    def _is_dropped(self, index: int, place: int) -> bool:
        return uniform(self._seed, "caption", index, place) < self._recipe.caption_dropout

    def _regions(self, batch: Sequence[EditExample]) -> Tensor | None:
        if all(example.region is None for example in batch):
            return None
        return self._stack([_everywhere(e) if e.region is None else e.region for e in batch])

    def _stack(self, tensors: Sequence[Tensor]) -> Tensor:
        stacked = torch.stack(list(tensors))
        if self._device.type == "cuda":
            return stacked.pin_memory().to(self._device, non_blocking=True)
        return stacked


Shape = tuple[str, int, bool]


def shapes_of(examples: Sequence[EditExample], recipe: TrainingRecipe) -> list[tuple[EditExample, bool]]:
    """One example, and whether its prompt is left out, for each shape that steps will have."""
    found: dict[Shape, tuple[EditExample, bool]] = {}
    for example in examples:
        for dropped in (False, True) if recipe.caption_dropout > 0 else (False,):
            tokens = len(example.empty if dropped else example.prompt)
            found.setdefault((example.bucket, tokens, example.region is not None), (example, dropped))
    return list(found.values())


def _everywhere(example: EditExample) -> Tensor:
    return torch.ones(example.target.shape[0], 1)


def _padded(prompts: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Prompts (batch, tokens, channels) padded at the end, with a mask only if something is padded: a mask costs the fast paths."""
    if len({len(prompt) for prompt in prompts}) == 1:
        return torch.stack(list(prompts)), None
    mask = pad_sequence([torch.ones(len(prompt), dtype=torch.bool) for prompt in prompts], batch_first=True)
    return pad_sequence(list(prompts), batch_first=True), mask
