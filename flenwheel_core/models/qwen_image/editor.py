"""Qwen-Image-Edit as an image editor."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor

from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.cores import cores_for, side_by_side
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.protocols import PLAIN_SETUP, EditJob, Made, ModelSetup
from flenwheel_core.models.qwen_image.conditioning import NO_PROMPT, EditSizes
from flenwheel_core.models.qwen_image.encoding import Instruction, Picture, encode_instructions, encode_pictures
from flenwheel_core.models.qwen_image.loading import find_parts
from flenwheel_core.models.qwen_image.painter import QwenPainter


class QwenEditor(QwenPainter):
    """Makes edits of pictures."""

    def edit(self, jobs: Iterable[EditJob]) -> Iterator[Made]:
        """Yields each edit as it is finished, grouped by shape; the same job always gives the same picture, in any company.

        Raises ResourceError before anything loads if the edits do not fit the card.
        """
        waiting = list(jobs)
        if not waiting:
            return
        wanted = [_instruction(job, job.prompt) for job in waiting]
        sizes = [instruction.sizes(self._model) for instruction in wanted]
        self._choose(sizes)
        guided = [job.sampler.true_cfg > 1 for job in waiting]
        unwanted = [_instruction(job, NO_PROMPT) for job, needs in zip(waiting, guided, strict=True) if needs]
        texts = encode_instructions(self._model, [*wanted, *unwanted], self._cache)
        negatives = iter(texts[len(wanted) :])
        negative = [next(negatives) if needs else None for needs in guided]
        references = self._references(wanted, sizes)
        if self._parts is None:
            with self._model.phase("loading"):
                self._parts = self._load()
        cores = cores_for(self._parts[0])
        groups: defaultdict[EditSizes, list[int]] = defaultdict(list)
        for index, size in enumerate(sizes):
            groups[size].append(index)
        with self._model.phase("edits"):
            for size, members in groups.items():
                draw = partial(self._nth, waiting, size, references, texts, negative)
                for index, latents in zip(members, side_by_side(draw, members, cores), strict=True):
                    yield Made(waiting[index].key, self._picture(latents, size))

    def _nth(
        self,
        jobs: Sequence[EditJob],
        size: EditSizes,
        references: Sequence[Tensor],
        texts: Sequence[Tensor],
        negative: Sequence[Tensor | None],
        index: int,
    ) -> Tensor:
        return self._latents(jobs[index], size, references[index], texts[index], negative[index])

    def _references(self, instructions: Sequence[Instruction], sizes: Sequence[EditSizes]) -> list[Tensor]:
        """The clean latents (1, tokens, channels) of each edit's pictures, one behind the other."""
        pictures = [
            (picture, size)
            for instruction, planned in zip(instructions, sizes, strict=True)
            for picture, size in zip(instruction.pictures, planned.references, strict=True)
        ]
        latents = iter(encode_pictures(self._model, pictures, self._cache))
        return [torch.cat([next(latents) for _ in planned.references])[None] for planned in sizes]


def _given(image: Image) -> Image:
    return image


def _instruction(job: EditJob, prompt: str) -> Instruction:
    pictures = tuple(Picture.of(partial(_given, image)) for image in job.images)
    return Instruction(prompt, pictures, job.sampler.width * job.sampler.height)


def open_editor(
    folder: Path, reference: str, settings: Settings, setup: ModelSetup = PLAIN_SETUP
) -> closing[QwenEditor]:
    """The editor in `folder`; its memory is free again afterwards."""
    cache = TensorCache(settings.scratch / "cache" / "qwen_edit", ahead=setup.make_room)
    return closing(QwenEditor(find_parts(folder, reference, settings), cache, setup))
