"""What a character LoRA is trained on, in every family: the own pictures, and pictures that keep the class word."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from PIL.Image import Image

from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.job import TrainHooks, TrainJob
from flenwheel_core.engine.placed_pictures import PlacedPicture, mask_tokens
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.memory.card import free_memory
from flenwheel_core.transformer.character_run import Draw, drawn_prior, placed_pictures
from flenwheel_core.transformer.character_task import CharacterItem

Caption = TypeVar("Caption")


@dataclass(frozen=True)
class CharacterItems(Generic[Caption]):
    """Makes the items of a run from its encoded captions."""

    job: TrainJob
    hooks: TrainHooks
    captions: Mapping[str, Caption]
    encode: Callable[[Sequence[PlacedPicture]], list[torch.Tensor]]
    """The packed latents (tokens, channels) of pictures, in order."""
    cache: TensorCache

    def own(self, pixels_per_token: int) -> list[CharacterItem[Caption]]:
        """The job's pictures with their captions and masks."""
        pictures = placed_pictures(self.job, self.hooks)
        self.hooks.loading("VAE")
        items = []
        for given, picture, latents in zip(self.job.pictures, pictures, self.encode(pictures), strict=True):
            place, mask = picture.placement, None
            if given.load_mask is not None:
                floor = self.job.recipe.mask_floor
                mask = mask_tokens(given.load_mask(), place, floor=floor, pixels_per_token=pixels_per_token)
            caption = self.captions[given.caption]
            own = CharacterItem(place.bucket, latents, caption, mask, given.weight, given.begins, given.digest)
            items.append(own)
        return items

    def prior(
        self,
        own: Sequence[CharacterItem[Caption]],
        texts: Sequence[str],
        adapted: AdaptedTransformer,
        draw: Draw,
        kind: str,
        revision: Callable[[], str],
        *,
        true_cfg: float = 1.0,
    ) -> list[CharacterItem[Caption]]:
        """Items that keep the class word: pictures the base draws for it, and, to predict as the base, the own pictures.

        `texts` are the captions with the class word, none if nothing is to be kept. `kind` and `revision` name family and weights in the
        cache; the revision is only asked where it is needed, since it may have to read all weights.
        """
        if not texts:
            return []

        def draw_base(text: str, sampler: Sampler, seed: int) -> Image:
            with adapted.without_adapter():
                return draw(text, sampler, seed)

        made = drawn_prior(
            self.job,
            self.hooks,
            texts,
            self.cache,
            kind=kind,
            revision=revision(),
            draw=draw_base,
            encode=lambda picture: self.encode([picture])[0],
            true_cfg=true_cfg,
        )
        free_memory()
        bucket = f"{self.job.recipe.resolution}x{self.job.recipe.resolution}"
        drawn = [CharacterItem(bucket, latents, self.captions[text]) for text, latents in made]
        if self.job.recipe.prior.method == "images":
            return drawn
        same = [replace(item, caption=self.captions[text], mask=None) for item, text in zip(own, texts, strict=True)]
        return drawn + same
