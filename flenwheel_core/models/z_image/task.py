"""Z-Image for the training loop: what its transformer is given, and how its noise levels are shifted."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from flenwheel_core.models.z_image.fast import TOKEN_STEP, FastZImage, padded
from flenwheel_core.models.z_image.geometry import PIXELS_PER_TOKEN, log_shift, pack, unpack, velocity
from flenwheel_core.transformer.character_task import CharacterItem, CharacterTask

ZImageItem = CharacterItem[Tensor]
"""Its caption is (text tokens, channels), as long as the text is."""


class ZImageTask(CharacterTask[Tensor]):
    """Batches and losses of a character LoRA for `run_loop`."""

    def texts(self, captions: Sequence[Tensor]) -> dict[str, Tensor]:
        """Padded as the transformer pads them; the lengths say what is text."""
        parts = [padded(caption) for caption in captions]
        text = pad_sequence([part for part, _ in parts], batch_first=True)
        padding = pad_sequence([part for _, part in parts], batch_first=True, padding_value=True)
        return {"text": text.to(self._device), "text_padding": padding.to(self._device)}

    def text_tokens(self, caption: Tensor) -> int:
        """With what the transformer pads it by."""
        return len(caption) + -len(caption) % TOKEN_STEP

    def places(self, bucket: str, text_tokens: int) -> dict[str, Tensor]:
        """The transformer counts places itself, from the shape that its picture has: the shape is all that this holds."""
        width, height = (int(side) // PIXELS_PER_TOKEN for side in bucket.split("x"))
        return {"grid": torch.zeros(height, width)}

    def shift(self, tokens: int) -> float:
        """Z-Image's schedule has a fixed shift; a dynamic one is honoured where a folder asks for it."""
        if self._scheduler.config.get("use_dynamic_shifting"):
            return math.exp(log_shift(self._scheduler.config, tokens))
        return float(self._scheduler.config.get("shift", 1.0))

    def predict(self, noisy: Tensor, sigma: Tensor, **given: Tensor) -> Tensor:
        text, padding, (rows, columns) = given["text"], given["text_padding"], given["grid"].shape
        latents = unpack(noisy, rows, columns)
        if (
            isinstance(self._transformer, FastZImage) and len(text) == 1
        ):  # shapes decide everything: steps can be recorded
            dtype = self._transformer.dtype
            out = self._transformer.predict(latents.to(dtype), 1 - sigma, text.to(dtype), padding)
            return -pack(out.float())
        lengths = (~padding).sum(1).tolist()
        texts = [one[:length] for one, length in zip(text, lengths, strict=True)]
        return pack(velocity(self._transformer, latents, sigma, texts))
