"""Qwen-VL that learned verdicts: how a reviewer would decide about a picture, as log-odds at the answer's first token."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.models.protocols import PLAIN_SETUP, ModelSetup
from flenwheel_core.models.qwen_vl.loading import VisionLanguageModel, open_model
from flenwheel_core.models.qwen_vl.wearing import change, wear

if TYPE_CHECKING:
    from PIL.Image import Image


class QwenVerdicts:
    """Asks one question about pictures, with a LoRA that is changed for another of its shape in place."""

    def __init__(self, model: VisionLanguageModel, question: str, answers: Sequence[str]) -> None:
        self._model = model
        self._question = question
        self._first = first_tokens(model, answers)
        self._worn: dict[str, torch.nn.Parameter] = {}

    @property
    def model(self) -> str:
        return self._model.reference

    def wear(self, lora: Path) -> None:
        """Answers with this LoRA from now on."""
        if self._worn:
            change(self._worn, lora)
        else:
            self._worn = wear(self._model.network, lora)

    def log_odds(self, pictures: "Sequence[Image]") -> tuple[float, ...]:
        """Of every answer but the last against the last, about these pictures together."""
        known = self._model.next_token(self._question, list(pictures))[self._first]
        return tuple(float(value) for value in (known[:-1] - known[-1]).tolist())


def first_tokens(model: VisionLanguageModel, answers: Sequence[str]) -> list[int]:
    """The first token of each answer. Raises InputError if two begin alike."""
    tokenizer = model.processor.tokenizer
    found = [int(tokenizer(answer, add_special_tokens=False)["input_ids"][0]) for answer in answers]
    if len(set(found)) < len(found):
        raise InputError(
            f"{model.reference} cannot tell the answers {', '.join(answers)} apart at their first token.",
            why="its tokenizer cuts two of them alike.",
            remedy="Choose another model for the critic.",
        )
    return found


@contextmanager
def open_verdicts(
    folder: Path,
    reference: str,
    settings: Settings,
    setup: ModelSetup = PLAIN_SETUP,
    *,
    question: str,
    answers: Sequence[str],
    most_pixels: int | None = None,
) -> Iterator[QwenVerdicts]:
    """The model in `folder`; its memory is free again afterwards."""
    with open_model(folder, reference, settings, setup, pictures=2, most_pixels=most_pixels) as model:
        yield QwenVerdicts(model, question, answers)
