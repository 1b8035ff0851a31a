"""Qwen-Image-Edit as an image editor."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL.Image import Image
from torch import Tensor

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.adapters.lora_wearing import wear_for_good
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.memory.card import free_memory
from flenwheel_core.memory.drawing import TILE_OVERLAP_PX, DrawingPlan
from flenwheel_core.memory.phases import Phase
from flenwheel_core.models.protocols import WORKING, EditJob, Made, Working
from flenwheel_core.models.qwen_image.conditioning import NO_PROMPT, EditSizes, decode_latents, to_picture
from flenwheel_core.models.qwen_image.drawing import draw
from flenwheel_core.models.qwen_image.encoding import Instruction, Picture, encode_instructions, encode_pictures
from flenwheel_core.models.qwen_image.fast_drawing import choose_drawing, fast_plan, load_fast
from flenwheel_core.models.qwen_image.loading import QwenEditModel, check_machine, find_parts
from flenwheel_core.models.qwen_image.lora_host import read_editor_loras
from flenwheel_core.transformer.plan import OTHER_MODULES

if TYPE_CHECKING:
    from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, QwenImageTransformer2DModel

    from flenwheel_core.documents.storages import EditorStorage


class QwenEditor:
    """Prompts are encoded first, then pictures, then the transformer is loaded: encoder and transformer never share the card.

    What the first edits need decides the storage, before anything is loaded. LoRA files are read at once: one that does not fit raises
    InputError.
    """

    def __init__(
        self,
        model: QwenEditModel,
        loras: tuple[LoraFile, ...],
        cache: TensorCache,
        storage: "EditorStorage | None" = None,
        working: Working = WORKING,
    ) -> None:
        self._model = model
        self._loras = read_editor_loras(loras, model.folder)
        self._cache = cache
        self._wanted = storage
        self._working = working
        self._plan: DrawingPlan | None = None
        self._parts: (
            tuple[QwenImageTransformer2DModel, FlowMatchEulerDiscreteScheduler, AutoencoderKLQwenImage] | None
        ) = None

    @property
    def model(self) -> str:
        """The reference with the storage that the transformer really has."""
        return self._model.name

    @property
    def phases(self) -> Sequence[Phase]:
        """What each part of the work took so far."""
        return tuple(self._model.phases)

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
        groups: defaultdict[EditSizes, list[int]] = defaultdict(list)
        for index, size in enumerate(sizes):
            groups[size].append(index)
        with self._model.phase("edits"):
            for size, members in groups.items():
                for index in members:
                    image = self._draw(waiting[index], size, references[index], texts[index], negative[index])
                    yield Made(waiting[index].key, image)

    def _choose(self, sizes: Sequence[EditSizes]) -> None:
        if self._plan is not None or self._model.budget_gib is None:
            return
        chosen = choose_drawing(self._model, sizes, self._loras, self._wanted, self._working.memory_level)
        self._model, self._plan = chosen
        check_machine(self._model)
        encoder = self._model.encoder_storage
        budget = self._model.budget_gib
        self._working.note(f"memory plan: {self._plan.describe()} of {budget:.1f} GiB; encoder in {encoder}")

    def _references(self, instructions: Sequence[Instruction], sizes: Sequence[EditSizes]) -> list[Tensor]:
        """The clean latents (1, tokens, channels) of each edit's pictures, one behind the other."""
        pictures = [
            (picture, size)
            for instruction, planned in zip(instructions, sizes, strict=True)
            for picture, size in zip(instruction.pictures, planned.references, strict=True)
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
        return to_picture(self._decoded(vae, latents, sizes))

    def _decoded(self, vae: "AutoencoderKLQwenImage", latents: Tensor, sizes: EditSizes) -> Tensor:
        if self._plan is None or not self._plan.empties:
            return decode_latents(vae, latents, sizes.target)
        torch.cuda.empty_cache()
        pixels = decode_latents(vae, latents, sizes.target).cpu()
        torch.cuda.empty_cache()
        return pixels

    def _load(self) -> "tuple[QwenImageTransformer2DModel, FlowMatchEulerDiscreteScheduler, AutoencoderKLQwenImage]":
        plan = fast_plan(self._model)
        transformer: Any = load_fast(self._model, plan, self._loras) if plan is not None else None
        if plan is not None and transformer is not None:
            self._working.note(plan.kernel_line(self._model.device))
        elif self._model.device.type == "cuda":
            self._working.note(OTHER_MODULES)
        if transformer is None:
            self._model = replace(self._model, storage=self._model.diffusers_storage)
            transformer = self._model.load_transformer()
            wear_for_good(transformer, self._loras)
        vae = self._model.load_vae()
        if self._plan is not None and self._plan.tile_px is not None:
            tile = self._plan.tile_px
            vae.enable_tiling(tile, tile, tile - TILE_OVERLAP_PX, tile - TILE_OVERLAP_PX)
        return transformer, self._model.load_scheduler(), vae

    def close(self) -> None:
        self._parts = None
        free_memory()


def _given(image: Image) -> Image:
    return image


def _instruction(job: EditJob, prompt: str) -> Instruction:
    pictures = tuple(Picture.of(partial(_given, image)) for image in job.images)
    return Instruction(prompt, pictures, job.sampler.width * job.sampler.height)


@contextmanager
def open_editor(
    folder: Path,
    reference: str,
    settings: Settings,
    loras: tuple[LoraFile, ...] = (),
    storage: "EditorStorage | None" = None,
    working: Working = WORKING,
) -> Iterator[QwenEditor]:
    """The editor in `folder`, with LoRAs; its memory is free again afterwards. `storage` None: the most exact one that fits."""
    model = find_parts(folder, reference, settings)
    editor = QwenEditor(model, loras, TensorCache(settings.scratch / "cache" / "qwen_edit"), storage, working)
    try:
        yield editor
    finally:
        editor.close()
