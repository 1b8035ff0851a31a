"""Z-Image for the training loop: what its transformer is given, and how its noise levels are shifted."""

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from flenwheel_core.models.z_image.geometry import PIXELS_PER_TOKEN, log_shift, pack, unpack, velocity
from flenwheel_core.transformer.character_task import CharacterItem, CharacterTask

ZImageItem = CharacterItem[Tensor]
"""Its caption is (text tokens, channels), as long as the text is."""


class ZImageTask(CharacterTask[Tensor]):
    """Batches and losses of a character LoRA for `run_loop`."""

    def texts(self, captions: Sequence[Tensor]) -> dict[str, Tensor]:
        padded = pad_sequence(list(captions), batch_first=True).to(self._device)
        lengths = padded.new_tensor([len(caption) for caption in captions])
        return {"text": padded, "text_lengths": lengths}

    def text_tokens(self, caption: Tensor) -> int:
        return len(caption)

    def places(self, bucket: str, text_tokens: int) -> dict[str, Tensor]:
        """The transformer counts places itself, from the shape that its picture has."""
        width, height = (int(side) // PIXELS_PER_TOKEN for side in bucket.split("x"))
        return {"grid": Tensor([height, width])}

    def shift(self, tokens: int) -> float:
        """Z-Image's schedule has a fixed shift; a dynamic one is honoured where a folder asks for it."""
        if self._scheduler.config.get("use_dynamic_shifting"):
            return math.exp(log_shift(self._scheduler.config, tokens))
        return float(self._scheduler.config.get("shift", 1.0))

    def predict(self, noisy: Tensor, sigma: Tensor, **given: Tensor) -> Tensor:
        rows, columns = (int(side) for side in given["grid"].tolist())
        lengths = [int(length) for length in given["text_lengths"].tolist()]
        texts = [text[:length] for text, length in zip(given["text"], lengths, strict=True)]
        return pack(velocity(self._transformer, unpack(noisy, rows, columns), sigma, texts))
