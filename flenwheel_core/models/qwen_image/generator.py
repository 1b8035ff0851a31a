"""Qwen-Image as an image generator: the editor's transformer without pictures to look at."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import torch

from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.protocols import PLAIN_SETUP, GenerateJob, Made, ModelSetup
from flenwheel_core.models.qwen_image.conditioning import NO_PROMPT, drawn_sizes
from flenwheel_core.models.qwen_image.loading import find_parts
from flenwheel_core.models.qwen_image.painter import QwenPainter
from flenwheel_core.models.qwen_image.prompts import encode_prompts


class QwenGenerator(QwenPainter):
    """Draws pictures from text."""

    def generate(self, jobs: Iterable[GenerateJob]) -> Iterator[Made]:
        """Yields each picture as it is finished; the same job always gives the same picture.

        Raises ResourceError before anything loads if the pictures do not fit the card.
        """
        if not (waiting := list(jobs)):
            return
        sizes = [drawn_sizes(job.sampler.width, job.sampler.height) for job in waiting]
        self._choose(sizes)
        texts = [job.prompt for job in waiting]
        texts += [NO_PROMPT] if any(job.sampler.true_cfg > 1 for job in waiting) else []
        prompts = encode_prompts(self._model, texts, self._cache)
        if self._parts is None:
            with self._model.phase("loading"):
                self._parts = self._load()
        channels = self._parts[0].config.in_channels
        nothing = torch.zeros(1, 0, channels)
        with self._model.phase("pictures"):
            for job, size in zip(waiting, sizes, strict=True):
                negative = prompts[NO_PROMPT] if job.sampler.true_cfg > 1 else None
                yield Made(job.key, self._draw(job, size, nothing, prompts[job.prompt], negative))


def open_generator(
    folder: Path, reference: str, settings: Settings, setup: ModelSetup = PLAIN_SETUP
) -> closing[QwenGenerator]:
    """The generator in `folder`; its memory is free again afterwards."""
    cache = TensorCache(settings.scratch / "cache" / "qwen_image", ahead=setup.make_room)
    return closing(QwenGenerator(find_parts(folder, reference, settings), cache, setup))
