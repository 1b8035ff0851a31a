"""FLUX for the training loop: what its transformer is given, and how its noise levels are shifted."""

from collections.abc import Sequence
from typing import Any, cast

import torch

from flenwheel_core.engine.flow_matching import shift_factor_for_tokens
from flenwheel_core.models.flux1.encoding import Caption
from flenwheel_core.models.flux1.packing import PIXELS_PER_TOKEN, image_ids
from flenwheel_core.transformer.character_task import CharacterItem, CharacterTask

FluxItem = CharacterItem[Caption]


class FluxTask(CharacterTask[Caption]):
    """Batches and losses of FLUX.1 for `run_loop`."""

    def texts(self, captions: Sequence[Caption]) -> dict[str, torch.Tensor]:
        return {
            "sequence": self.stacked([caption.sequence for caption in captions]),
            "pooled": self.stacked([caption.pooled for caption in captions]),
        }

    def text_tokens(self, caption: Caption) -> int:
        return len(caption.sequence)

    def places(self, bucket: str, text_tokens: int) -> dict[str, torch.Tensor]:
        width, height = (int(side) // PIXELS_PER_TOKEN for side in bucket.split("x"))
        return {"text_ids": torch.zeros(text_tokens, 3), "picture_ids": image_ids(height, width)}

    def shift(self, tokens: int) -> float:
        return shift_factor_for_tokens(tokens)

    def predict(self, noisy: torch.Tensor, sigma: torch.Tensor, **given: torch.Tensor) -> torch.Tensor:
        guidance = None
        if cast(Any, self._transformer.config).guidance_embeds:
            guidance = torch.full((len(noisy),), self._recipe.guidance, device=self._device, dtype=torch.float32)
        prediction: torch.Tensor = self._transformer(
            hidden_states=noisy.to(self._dtype),
            encoder_hidden_states=given["sequence"].to(self._dtype),
            pooled_projections=given["pooled"].to(self._dtype),
            timestep=sigma,
            guidance=guidance,
            img_ids=given["picture_ids"],
            txt_ids=given["text_ids"],
            return_dict=False,
        )[0]
        return prediction
