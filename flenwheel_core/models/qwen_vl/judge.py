"""Qwen-VL says whether two pictures show the same character."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from flenwheel_core.base.settings import Settings
from flenwheel_core.models.protocols import PLAIN_SETUP, ModelSetup
from flenwheel_core.models.qwen_vl.loading import VisionLanguageModel, open_model

if TYPE_CHECKING:
    from PIL.Image import Image

QUESTION = "Do the two pictures show the same character? Answer yes or no."


class QwenJudge:
    """Reads the answer from the probabilities of its first word, so that it is a number and not a guess."""

    def __init__(self, model: VisionLanguageModel) -> None:
        self._model = model
        self._yes = self._first_tokens("yes", "Yes", " yes", " Yes")
        self._no = self._first_tokens("no", "No", " no", " No")

    @property
    def model(self) -> str:
        return self._model.reference

    def same_character(self, first: "Image", second: "Image") -> float:
        """P(yes) / (P(yes) + P(no)), the mean of both orders of the pictures: neither place counts more."""
        return (self._asked(first, second) + self._asked(second, first)) / 2

    def _asked(self, first: "Image", second: "Image") -> float:
        known = self._model.next_token(QUESTION, [first, second])
        yes, no = (torch.logsumexp(known[tokens], 0) for tokens in (self._yes, self._no))
        return float(torch.sigmoid(yes - no))

    def _first_tokens(self, *words: str) -> torch.Tensor:
        tokenizer = self._model.processor.tokenizer
        found = {tokenizer.encode(word, add_special_tokens=False)[0] for word in words}
        return torch.tensor(sorted(found), device=self._model.network.device)


@contextmanager
def open_judge(
    folder: Path, reference: str, settings: Settings, setup: ModelSetup = PLAIN_SETUP
) -> Iterator[QwenJudge]:
    """The judge in `folder`; its memory is free again afterwards."""
    with open_model(folder, reference, settings, setup, pictures=2) as model:
        yield QwenJudge(model)
