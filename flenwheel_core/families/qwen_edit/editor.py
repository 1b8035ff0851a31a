"""Qwen-Image-Edit as an image editor."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL.Image import Image
from torch import Tensor

from flenwheel_core.families.lora_wearing import wear
from flenwheel_core.families.protocols import EditJob, LoraFile, Made
from flenwheel_core.families.qwen_edit.conditioning import NO_PROMPT, EditSizes, decode_latents, to_picture
from flenwheel_core.families.qwen_edit.drawing import draw
from flenwheel_core.families.qwen_edit.encoding import Instruction, encode_instructions, encode_pictures
from flenwheel_core.families.qwen_edit.fast_drawing import drawing_order, fast_plan, load_fast
from flenwheel_core.families.qwen_edit.loading import Phase, QwenEditModel, find_model, free_memory
from flenwheel_core.families.qwen_edit.lora_host import read_editor_loras
from flenwheel_core.settings import Settings
from flenwheel_core.training.cache import TensorCache

if TYPE_CHECKING:
    from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, QwenImageTransformer2DModel

    from flenwheel_core.domain.stages import EditorStorage


class QwenEditor:
    """Prompts are encoded first, then pictures, then the transformer is loaded: encoder and transformer never share the card.

    LoRA files are read at once: one that does not fit raises InputError before anything is loaded.
    """

    def __init__(self, model: QwenEditModel, loras: tuple[LoraFile, ...], cache: TensorCache) -> None:
        self._model = model
        self._loras = read_editor_loras(loras, model.folder)
        self._cache = cache
        self._storage = model.storage
        self._parts: (
            tuple[QwenImageTransformer2DModel, FlowMatchEulerDiscreteScheduler, AutoencoderKLQwenImage] | None
        ) = None

    @property
    def model(self) -> str:
        """The reference with the storage that the transformer really has."""
        return replace(self._model, storage=self._storage).name

    @property
    def phases(self) -> Sequence[Phase]:
        """What each part of the work took so far."""
        return tuple(self._model.phases)

    def edit(self, jobs: Iterable[EditJob]) -> Iterator[Made]:
        """Yields each edit as it is finished, grouped by shape; the same job always gives the same picture, in any company."""
        waiting = list(jobs)
        if not waiting:
            return
        wanted = [_instruction(job, job.prompt) for job in waiting]
        guided = [job.sampler.true_cfg > 1 for job in waiting]
        unwanted = [_instruction(job, NO_PROMPT) for job, needs in zip(waiting, guided, strict=True) if needs]
        texts = encode_instructions(self._model, [*wanted, *unwanted], self._cache)
        negatives = iter(texts[len(wanted) :])
        negative = [next(negatives) if needs else None for needs in guided]
        sizes = [instruction.sizes(self._model) for instruction in wanted]
        references = self._references(waiting, sizes)
        if self._parts is None:
            with self._model.phase("loading"):
                self._parts = self._load()
        groups: defaultdict[EditSizes, list[int]] = defaultdict(list)
        for index, size in enumerate(sizes):
            groups[size].append(index)
        with self._model.phase("edits"):
            for size, members in groups.items():
                for index in members:
                    image = self._draw(waiting[index], size, references[index], texts[index], negative[index])
                    yield Made(waiting[index].key, image)

    def _references(self, jobs: Sequence[EditJob], sizes: Sequence[EditSizes]) -> list[Tensor]:
        """The clean latents (1, tokens, channels) of each job's pictures, one behind the other."""
        pictures = [
            (picture, size)
            for job, planned in zip(jobs, sizes, strict=True)
            for picture, size in zip(job.images, planned.references, strict=True)
        ]
        latents = iter(encode_pictures(self._model, pictures, self._cache))
        return [torch.cat([next(latents) for _ in planned.references])[None] for planned in sizes]

    def _draw(self, job: EditJob, sizes: EditSizes, references: Tensor, text: Tensor, negative: Tensor | None) -> Image:
        assert self._parts is not None
        transformer, scheduler, vae = self._parts
        latents = draw(
            transformer,
            scheduler,
            sizes,
            references.to(self._model.device),
            text,
            negative,
            steps=job.sampler.steps,
            true_cfg=job.sampler.true_cfg,
            seed=job.seed,
            shift=job.shift,
        )
        return to_picture(decode_latents(vae, latents, sizes.target))

    def _load(self) -> "tuple[QwenImageTransformer2DModel, FlowMatchEulerDiscreteScheduler, AutoencoderKLQwenImage]":
        plan = fast_plan(self._model)
        transformer: Any = load_fast(self._model, plan, self._loras) if plan is not None else None
        if transformer is None:
            self._storage = self._model.diffusers_storage
            transformer = self._model.load_transformer()
            wear(transformer, self._loras)
        return transformer, self._model.load_scheduler(), self._model.load_vae()

    def close(self) -> None:
        self._parts = None
        free_memory()


def _instruction(job: EditJob, prompt: str) -> Instruction:
    return Instruction(prompt, job.images, job.sampler.width * job.sampler.height)


@contextmanager
def open_editor(
    folder: Path,
    reference: str,
    settings: Settings,
    loras: tuple[LoraFile, ...] = (),
    storage: "EditorStorage | None" = None,
) -> Iterator[QwenEditor]:
    """The editor in `folder`, with LoRAs; its memory is free again afterwards."""
    model = find_model(folder, reference, settings, storage, order=drawing_order(folder))
    editor = QwenEditor(model, loras, TensorCache(settings.scratch / "cache" / "qwen_edit"))
    try:
        yield editor
    finally:
        editor.close()
