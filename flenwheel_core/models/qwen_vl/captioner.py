"""Qwen-VL describes pictures."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flenwheel_core.base.settings import Settings
from flenwheel_core.models.protocols import PLAIN_SETUP, ModelSetup
from flenwheel_core.models.qwen_vl.loading import VisionLanguageModel, open_model

if TYPE_CHECKING:
    from PIL.Image import Image

QUESTION = "Describe the picture."
DETAILED_QUESTION = (
    "Caption this picture in one line of comma-separated phrases: what the pose is, the expression, the angle of view, the "
    "background, the lighting and the clothing. Do not describe the face, hair, eyes or body."
)
"""What never changes about a character must stay out of its captions, or its trigger will not learn it."""
MOST_TOKENS = 96
_SMALL_VOCABULARY = 10_000
"""A model of the nano world knows its own questions only."""


class QwenCaptioner:
    """Captions pictures one by one, so that a caption does not depend on its company."""

    def __init__(self, model: VisionLanguageModel) -> None:
        self._model = model
        self._question = question_for(model.processor)

    @property
    def model(self) -> str:
        return self._model.reference

    def caption(self, images: "Sequence[Image]") -> list[str]:
        """One caption a picture, on one line."""
        return [
            " ".join(self._model.answer(self._question, [image], most_tokens=MOST_TOKENS).split()) for image in images
        ]


def question_for(processor: Any) -> str:
    """What a captioner asks about a picture: a LoRA learns its captions as answers to the same question."""
    return QUESTION if len(processor.tokenizer) < _SMALL_VOCABULARY else DETAILED_QUESTION


@contextmanager
def open_captioner(
    folder: Path, reference: str, settings: Settings, setup: ModelSetup = PLAIN_SETUP
) -> Iterator[QwenCaptioner]:
    """The captioner in `folder`; its memory is free again afterwards."""
    with open_model(folder, reference, settings, setup) as model:
        yield QwenCaptioner(model)
