"""Three things that the common loop can learn: an oracle, captions' embeddings, and pictures through the frozen transformer."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flenwheel_core.engine.flow_matching import flow_loss, noisy_input, sigma_of_uniform, velocity_target
from flenwheel_core.engine.order import Order
from flenwheel_core.engine.randomness import normal, permutation, uniform
from flenwheel_core.injection.heads import LinearHead, rms
from flenwheel_core.injection.identities import Identity
from flenwheel_core.injection.phrases import Photo, Phrases
from flenwheel_core.injection.residual import inject_all, rows_for_others
from flenwheel_core.models.prompt_model import PromptModel, Size
from flenwheel_core.recipes.injection import OWN_TOKENS, Place
from flenwheel_core.recipes.train import TrainingRecipe


@dataclass(frozen=True)
class Lessons:
    """All that is learned from."""

    identities: tuple[Identity, ...]
    photos: tuple[Photo, ...]
    size: Size


class InjectionTask:
    """Which photos each step sees; what is learned stands in the classes below."""

    def __init__(
        self, lessons: Lessons, recipe: TrainingRecipe, place: Place, *, seed: int, device: torch.device
    ) -> None:
        self.lessons, self.recipe, self.place, self.seed, self.device = lessons, recipe, place, seed, device
        count = len(lessons.photos)
        self._order = Order(("",) * count, (1.0,) * count, recipe.batch_size, seed)

    def sample(self, step: int) -> None:
        """Nothing is drawn while it learns."""

    def batch(self, index: int) -> list[Photo]:
        return [self.lessons.photos[place] for place in self._order.batch(index)]

    def features(self, photos: Sequence[Photo], index: int) -> Tensor:
        """(batch, inputs): the mean of some other views of each photo's identity; its own only where there is no other."""
        found = []
        for place, photo in enumerate(photos):
            identity = self.lessons.identities[photo.identity]
            others = other_views(identity, photo.view)
            order = permutation(len(others), self.seed, "views", index, place)
            count = 1 + int(uniform(self.seed, "number of views", index, place) * len(others))
            found.append(identity.mean([others[view] for view in order[:count]]))
        return torch.stack(found).to(self.device)

    def drawn_loss(
        self, model: PromptModel, photos: Sequence[Photo], residuals: Sequence[Tensor], index: int
    ) -> Tensor:
        """Flow matching of photos whose prompts have these residuals (rows, width) on them."""
        shape = tuple(photos[0].latents.shape)
        noise = torch.stack([normal(shape, self.seed, "noise", index, place) for place in range(len(photos))])
        numbers = torch.tensor([uniform(self.seed, "sigma", index, place) for place in range(len(photos))])
        sigma = sigma_of_uniform(numbers, self.recipe.sigma, shift=model.shift(self.lessons.size))
        clean = torch.stack([photo.latents for photo in photos])
        noisy, target = noisy_input(clean, noise, sigma), velocity_target(clean, noise)
        words = [photo.words for photo in photos]
        prompts = inject_all([photo.prompt for photo in photos], residuals, 1.0, self.place, words)
        made = model.velocity(prompts, noisy.to(self.device), sigma.to(self.device), self.lessons.size)
        return flow_loss(made, target.to(self.device)).mean()


def other_views(identity: Identity, view: int) -> list[int]:
    """All views but this one; it alone where there is no other."""
    return [other for other in range(len(identity.features)) if other != view] or [view]


ORACLE_START = 0.3
"""Of a token's size: from much nearer to the prompt the oracle hardly leaves it."""


class OracleTask(InjectionTask):
    """The residual of each identity itself, through the frozen transformer: no head can do better in this place.

    With place `phrase` it begins with what the descriptions of its photos say: from a random start pictures do not find a phrase.
    """

    def __init__(
        self,
        model: PromptModel,
        lessons: Lessons,
        recipe: TrainingRecipe,
        place: Place,
        rows: int,
        *,
        seed: int,
        lead: int = 0,
    ) -> None:
        super().__init__(lessons, recipe, place, seed=seed, device=model.device)
        self._model = model
        starts = [
            ORACLE_START * normal((rows, model.width), seed, "oracle", number)
            for number in range(len(lessons.identities))
        ]
        if place == "phrase":
            for number, said in _described(lessons, rows, lead).items():
                starts[number] = said
        self._residuals = {
            str(number): torch.nn.Parameter(start.to(model.device)) for number, start in enumerate(starts)
        }

    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        return self._residuals

    def loss(self, index: int) -> Tensor:
        photos = self.batch(index)
        return self.drawn_loss(self._model, photos, [self._residuals[str(photo.identity)] for photo in photos], index)


def _described(lessons: Lessons, rows: int, lead: int) -> dict[int, Tensor]:
    """What the descriptions of each identity's photos say, the mean of them; those without one are not in it."""
    photos = [photo for photo in lessons.photos if photo.description]
    if not photos:
        return {}
    said = Phrases.of(photos, rows - rows_for_others(photos[0].prompt), lead)
    own: dict[int, list[Tensor]] = {}
    for photo in photos:
        own.setdefault(photo.identity, []).append(said.target(photo))
    return {number: torch.stack(targets).mean(0) for number, targets in own.items()}


class HeadTask(InjectionTask):
    """What learns a head."""

    def __init__(
        self,
        head: LinearHead,
        lessons: Lessons,
        recipe: TrainingRecipe,
        place: Place,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        super().__init__(lessons, recipe, place, seed=seed, device=device)
        self.head = head

    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        return dict(self.head.named_parameters())


class RegressionTask(HeadTask):
    """The head's residual is to be what a description adds to the prompt: all that words say, and no more.

    It begins where least squares ends; steps then learn directions, which count alone behind a norm, from any number of views.
    """

    def __init__(
        self,
        head: LinearHead,
        lessons: Lessons,
        recipe: TrainingRecipe,
        place: Place,
        *,
        seed: int,
        device: torch.device,
        cosine: float,
        pull: float,
        lead: int = 0,
    ) -> None:
        super().__init__(head, lessons, recipe, place, seed=seed, device=device)
        self._cosine = cosine
        if place == "phrase":
            said = Phrases.of(lessons.photos, head.rows - rows_for_others(lessons.photos[0].prompt), lead)
            self._targets = [said.target(photo).to(device) for photo in lessons.photos]
        else:
            self._targets = [caption_target(photo, place, head.rows).to(device) for photo in lessons.photos]
        # The mean of all other views, whose parts `features` draws while it learns.
        seen = [
            lessons.identities[photo.identity].mean(other_views(lessons.identities[photo.identity], photo.view))
            for photo in lessons.photos
        ]
        head.solve(torch.stack(seen).to(device), torch.stack(self._targets), pull)

    def loss(self, index: int) -> Tensor:
        chosen = self._order.batch(index)
        photos = [self.lessons.photos[place] for place in chosen]
        made = self.head(self.features(photos, index))
        target = torch.stack([self._targets[place] for place in chosen])
        cosine = torch.nn.functional.cosine_similarity(made, target, dim=-1).mean()
        return torch.nn.functional.mse_loss(made, target) + self._cosine * (1 - cosine)


class FlowTask(HeadTask):
    """The head learns from pictures, through the frozen transformer; the prompt without a residual stays what it was."""

    def __init__(
        self, model: PromptModel, head: LinearHead, lessons: Lessons, recipe: TrainingRecipe, place: Place, *, seed: int
    ) -> None:
        super().__init__(head, lessons, recipe, place, seed=seed, device=model.device)
        self._model = model

    def loss(self, index: int) -> Tensor:
        photos = self.batch(index)
        return self.drawn_loss(self._model, photos, list(self.head(self.features(photos, index))), index)


def caption_target(photo: Photo, place: Place, rows: int) -> Tensor:
    """(rows, width): what the described caption has over the plain one, in multiples of the plain tokens' size.

    On the words it is what the description makes of them, tokens of its own are to be the description's, resampled to as many, and on all
    tokens it is the difference of the means.
    """
    plain, described = photo.prompt.tokens, photo.described.tokens
    everywhere = ((described.mean(0) - plain.mean(0)) / rms(plain).mean())[None]
    if place == "all":
        return everywhere
    anchor = plain[list(photo.words)].mean(0, keepdim=True)
    found = described[list(photo.described_words or photo.words)].mean(0, keepdim=True)
    if place in OWN_TOKENS:
        said = described[list(photo.description)] if photo.description else described
        found = torch.cat([found, torch.nn.functional.adaptive_avg_pool1d(said.T[None], rows - 1)[0].T])
    target = (found - anchor) / rms(anchor)
    return torch.cat([everywhere, target[1:]]) if place == "both" else target


def difference(plain: str, described: str) -> str:
    """What a description adds to a caption: the middle in which they differ, in whole words; empty where they are the same."""
    one, other = (list(re.finditer(r"[\w'-]+|[^\w\s]", text)) for text in (plain, described))
    start = 0
    while start < min(len(one), len(other)) and one[start].group() == other[start].group():
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end].group() == other[-1 - end].group():
        end += 1
    middle = other[start : len(other) - end]
    return described[middle[0].start() : middle[-1].end()] if middle else ""
