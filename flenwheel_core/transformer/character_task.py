"""A character LoRA for the training loop, whatever the family: which pictures, captions and noise each forward pass gets, and its loss."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import torch

from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.documents.loras import PictureLook
from flenwheel_core.engine.cores import Parts, parts_of
from flenwheel_core.engine.flow_matching import flow_loss, noisy_input, sigma_of_uniform, velocity_target
from flenwheel_core.engine.graphs import Recorder
from flenwheel_core.engine.order import order_of
from flenwheel_core.engine.randomness import normal, uniform
from flenwheel_core.recipes.doubts import NOISES
from flenwheel_core.recipes.train import TrainingRecipe

if TYPE_CHECKING:
    from diffusers import FlowMatchEulerDiscreteScheduler

Caption = TypeVar("Caption")
"""An encoded caption, as the family has it."""


@dataclass(frozen=True)
class CharacterItem(Generic[Caption]):
    """One picture with its caption, ready to train on."""

    bucket: str
    latents: torch.Tensor
    """(tokens, channels), float32."""
    caption: Caption
    mask: torch.Tensor | None = None
    """(tokens, 1) loss weights."""
    weight: float = 1.0
    begins: float = 0.0
    """Share of the training after which it is trained on."""
    digest: str = ""


class CharacterTask(ABC, Generic[Caption]):
    """Batches and losses for `run_loop`. A family says what its transformer is given: `texts`, `places`, `predict` and `shift`.

    `prior` items keep the class word: with method `prediction` their target is what the model predicts without the
    adapter, with `images` it is the picture itself.
    """

    def __init__(
        self,
        adapted: AdaptedTransformer,
        recipe: TrainingRecipe,
        items: Sequence[CharacterItem[Caption]],
        prior: Sequence[CharacterItem[Caption]],
        empty: Caption,
        *,
        seed: int,
        sample: Callable[[int], Mapping[str, float] | None],
        rank: int = 0,
        world: int = 1,
        recorder: Recorder | None = None,
        scheduler: "FlowMatchEulerDiscreteScheduler | None" = None,
        cores: int = 1,
    ) -> None:
        """`recorder` runs forward and backward passes as CUDA graphs; `scheduler` is for families that ask it how noise is shifted.

        With several `cores` a batch is computed in parts, each on one (`cores_for`).
        """
        self._adapted = adapted
        self._transformer = adapted.transformer
        self._recipe = recipe
        self._items = items
        self._prior = prior
        self._empty = empty
        self._seed = seed
        self._sample = sample
        self._rank, self._world = rank, world
        self._recorder = recorder
        self._scheduler: Any = scheduler
        self._order = order_of(
            [item.bucket for item in items],
            [item.weight for item in items],
            [item.begins for item in items],
            batch_size=recipe.batch_size * world,
            seed=seed,
            batches=recipe.steps * recipe.gradient_accumulation,
        )
        self._device = next(iter(adapted.parameters.values())).device
        self._dtype = cast(torch.dtype, adapted.transformer.dtype)
        self._known_places: dict[tuple[str, int], dict[str, torch.Tensor]] = {}
        self._prepared = False
        self._base_losses: list[float] = []
        self._parts = Parts(parts_of(len(range(rank, recipe.batch_size * world, world)), cores))

    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        return self._adapted.parameters

    def sample(self, step: int) -> Mapping[str, float] | None:
        if self._recorder is not None:
            self._recorder.forget()  # drawing needs the memory that the graphs hold
        return self._sample(step)

    def look(self, step: int) -> tuple[PictureLook, ...]:
        """How far each own picture is learned now; the training goes on as if nobody had looked."""
        if self._recorder is not None:
            self._recorder.forget()
        self._transformer.eval()  # no dropout, and none of the random numbers that it would take from the training
        if not self._base_losses:
            with self._adapted.without_adapter():
                self._base_losses = [self._looked(item) for item in self._items]
        found = tuple(
            PictureLook(step=step, image=item.digest, base_loss=round(base, 6), loss=round(self._looked(item), 6))
            for item, base in zip(self._items, self._base_losses, strict=True)
        )
        self._transformer.train()
        return found

    @torch.no_grad()
    def _looked(self, item: CharacterItem[Caption]) -> float:
        """The loss of an own picture at the noise that all are measured at: pictures then differ by what they show, not by chance."""
        size = self._recipe.batch_size
        parts = [range(start, min(start + size, NOISES)) for start in range(0, NOISES, size)]
        return sum(float(self._loss_of(**self._looked_at(item, part))) * len(part) for part in parts) / NOISES

    def _looked_at(self, item: CharacterItem[Caption], numbers: Sequence[int]) -> dict[str, torch.Tensor]:
        """What `_loss_of` is given for one picture at these of the noises."""
        levels = torch.tensor([(number + 0.5) / NOISES for number in numbers])
        sigma = sigma_of_uniform(levels, self._recipe.sigma, shift=self._shift(len(item.latents))).to(self._device)
        noise = self.stacked([normal(tuple(item.latents.shape), self._seed, "look", number) for number in numbers])
        clean = self.stacked([item.latents] * len(numbers))
        return {
            "noisy": noisy_input(clean, noise, sigma),
            "sigma": sigma,
            **self.texts([item.caption] * len(numbers)),
            **self._places(item.bucket, self.text_tokens(item.caption)),
            "target": velocity_target(clean, noise),
        }

    def loss(self, index: int) -> torch.Tensor:
        chosen, own = self._choose(index, self._order.batch(index))
        if self._recorder is not None:
            if not self._prepared:
                self._prepare(self._recorder)
            return self._recorder.loss("loss", self._loss_of, self._arguments(index, chosen, own))
        given = self._arguments(index, chosen, own)
        if self._parts.number == 1 or not torch.is_grad_enabled():
            return self._loss_of(**given)
        item = chosen[0][0]
        places = self._places(item.bucket, self.text_tokens(item.caption)).keys()
        rows = {name: tensor for name, tensor in given.items() if name not in places}
        shared = {name: given[name] for name in places}
        return self._parts.mean_loss(self._loss_of, rows, shared, list(self._adapted.parameters.values()))

    def _prepare(self, recorder: Recorder) -> None:
        """Every shape that steps may have, before the first one: all are then recorded once, or none if they are too many."""
        self._prepared = True
        kinds: dict[tuple[str, int, bool, bool], tuple[CharacterItem[Caption], bool]] = {}
        for item, prior in [*((item, False) for item in self._items), *((item, True) for item in self._prior)]:
            for caption in (item.caption, self._empty) if self._recipe.caption_dropout > 0 else (item.caption,):
                kind = item.bucket, self.text_tokens(caption), item.mask is not None, prior
                kinds.setdefault(kind, (replace(item, caption=caption), prior))
        predicted = self._recipe.prior.method == "prediction"
        recorder.expect(len(kinds) + sum(prior and predicted for _, prior in kinds.values()))
        for item, prior in kinds.values():
            places = list(range(self._recipe.batch_size))
            arguments = self._arguments(0, [(item, prior)] * len(places), places, only_prepare=True)
            recorder.prepare_loss("loss", self._loss_of, arguments)

    def _arguments(
        self,
        index: int,
        chosen: Sequence[tuple[CharacterItem[Caption], bool]],
        own: list[int],
        *,
        only_prepare: bool = False,
    ) -> dict[str, torch.Tensor]:
        """What `_loss_of` is given for these items, each with whether it is a prior item, at these places of the batch."""
        batch = [item for item, _ in chosen]
        sigma, noise = self._noise(index, batch, own)
        clean = self.stacked([item.latents for item in batch])
        noisy = noisy_input(clean, noise, sigma)
        target = velocity_target(clean, noise)
        captions = [self._caption(index, position, item) for position, item in zip(own, batch, strict=True)]
        inputs = {
            "noisy": noisy,
            "sigma": sigma,
            **self.texts(captions),
        }
        places = self._places(batch[0].bucket, self.text_tokens(captions[0]))
        prior_rows = [row for row, (_, is_prior) in enumerate(chosen) if is_prior]
        if prior_rows and self._recipe.prior.method == "prediction":
            rows = {name: tensor[prior_rows] for name, tensor in inputs.items()}
            if only_prepare and self._recorder is not None:
                self._recorder.prepare_call("base", self._predict_base, {**rows, **places})
            else:
                target[prior_rows] = self._base_prediction(rows, places).float()
        weights: dict[str, torch.Tensor] = {}
        masks = self._masks(batch)
        if masks is not None:
            weights["mask"] = masks
        if prior_rows and self._recipe.prior.weight != 1:
            factor = torch.ones(len(batch))
            factor[prior_rows] = self._recipe.prior.weight
            weights["factor"] = factor.to(self._device, non_blocking=True)
        return {**inputs, **places, "target": target, **weights}

    def _loss_of(
        self,
        target: torch.Tensor,
        mask: torch.Tensor | None = None,
        factor: torch.Tensor | None = None,
        **inputs: torch.Tensor,
    ) -> torch.Tensor:
        losses = flow_loss(self.predict(**inputs), target, mask)
        return (losses if factor is None else losses * factor).mean()

    def _base_prediction(self, rows: Mapping[str, torch.Tensor], places: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if self._recorder is not None:
            return self._recorder.call("base", self._predict_base, {**rows, **places})
        count = len(rows["noisy"])
        if self._parts.number == 1 or count == 1:
            return self._predict_base(**rows, **places)
        each = [{name: tensor[row : row + 1] for name, tensor in rows.items()} for row in range(count)]
        with self._adapted.without_adapter():
            return torch.cat(self._parts.each(lambda own: self._predict_quietly(**own, **places), each))

    def _predict_base(self, **inputs: torch.Tensor) -> torch.Tensor:
        with self._adapted.without_adapter():
            return self._predict_quietly(**inputs)

    @torch.no_grad()
    def _predict_quietly(self, **inputs: torch.Tensor) -> torch.Tensor:
        return self.predict(**inputs)

    def _choose(
        self, index: int, drawn: tuple[int, ...]
    ) -> tuple[list[tuple[CharacterItem[Caption], bool]], list[int]]:
        """This process' items of the batch, each with whether it is a prior item, and their places in the whole batch.

        Prior items take the first places: over many batches exactly `share` of all items.
        """
        size = len(drawn)
        share = self._recipe.prior.share if self._prior else 0.0
        prior_count = math.floor((index + 1) * size * share) - math.floor(index * size * share)
        bucket = self._items[drawn[0]].bucket
        candidates = [item for item in self._prior if item.bucket == bucket]
        chosen: list[tuple[CharacterItem[Caption], bool]] = []
        own = range(self._rank, size, self._world)
        for position in own:
            if position < prior_count and candidates:
                pick = int(uniform(self._seed, "prior", index, position) * len(candidates))
                chosen.append((candidates[pick], True))
            else:
                chosen.append((self._items[drawn[position]], False))
        return chosen, list(own)

    def _noise(
        self, index: int, batch: Sequence[CharacterItem[Caption]], own: list[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Noise levels (batch,) and noise (batch, tokens, channels), float32, derived from (seed, index, place)."""
        tokens = batch[0].latents.shape[0]
        factor = self._shift(tokens)
        numbers = torch.tensor([uniform(self._seed, "sigma", index, position) for position in own])
        sigma = sigma_of_uniform(numbers, self._recipe.sigma, shift=factor)
        noise = [
            normal(tuple(item.latents.shape), self._seed, "noise", index, position)
            for position, item in zip(own, batch, strict=True)
        ]
        return sigma.to(self._device, non_blocking=True), self.stacked(noise)

    def _shift(self, tokens: int) -> float:
        shift = self._recipe.sigma.shift
        return self.shift(tokens) if shift == "resolution" else 1.0 if isinstance(shift, str) else float(shift)

    def _caption(self, index: int, position: int, item: CharacterItem[Caption]) -> Caption:
        dropped = uniform(self._seed, "caption", index, position) < self._recipe.caption_dropout
        return self._empty if dropped else item.caption

    def _masks(self, batch: Sequence[CharacterItem[Caption]]) -> torch.Tensor | None:
        if all(item.mask is None for item in batch):
            return None
        ones = torch.ones(batch[0].latents.shape[0], 1)
        return self.stacked([ones if item.mask is None else item.mask for item in batch])

    # what a family says

    @abstractmethod
    def texts(self, captions: Sequence[Caption]) -> dict[str, torch.Tensor]:
        """A batch's captions as `predict` takes them, on the device."""

    @abstractmethod
    def text_tokens(self, caption: Caption) -> int:
        """How many tokens of text the transformer reads."""

    @abstractmethod
    def places(self, bucket: str, text_tokens: int) -> dict[str, torch.Tensor]:
        """Where the tokens of a bucket's pictures and of the text stand, as `predict` takes it; asked for once."""

    @abstractmethod
    def predict(self, noisy: torch.Tensor, sigma: torch.Tensor, **given: torch.Tensor) -> torch.Tensor:
        """Velocity (batch, tokens, channels) for noisy tokens at noise levels sigma (batch,)."""

    @abstractmethod
    def shift(self, tokens: int) -> float:
        """The factor by which the family's pipeline shifts noise levels for pictures of so many tokens."""

    def _places(self, bucket: str, text_tokens: int) -> dict[str, torch.Tensor]:
        if (bucket, text_tokens) not in self._known_places:
            made = self.places(bucket, text_tokens)
            self._known_places[bucket, text_tokens] = {name: tensor.to(self._device) for name, tensor in made.items()}
        return self._known_places[bucket, text_tokens]

    def stacked(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """Tensors of the items as one, on the device."""
        stacked = torch.stack(list(tensors))
        if self._device.type == "cuda":
            return stacked.pin_memory().to(self._device, non_blocking=True)
        return stacked
