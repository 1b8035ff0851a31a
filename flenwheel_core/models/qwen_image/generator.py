"""Qwen-Image as an image generator: the editor's transformer without pictures to look at."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.protocols import WORKING, GenerateJob, Made, Working
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
        waiting = list(jobs)
        if not waiting:
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


@contextmanager
def open_generator(
    folder: Path,
    reference: str,
    settings: Settings,
    loras: tuple[LoraFile, ...] = (),
    working: Working = WORKING,
) -> Iterator[QwenGenerator]:
    """The generator in `folder`, with LoRAs; its memory is free again afterwards."""
    model = find_parts(folder, reference, settings)
    generator = QwenGenerator(model, loras, TensorCache(settings.scratch / "cache" / "qwen_image"), working=working)
    try:
        yield generator
    finally:
        generator.close()
