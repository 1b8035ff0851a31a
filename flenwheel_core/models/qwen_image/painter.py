"""What draws with a Qwen-Image transformer, from text alone or beside pictures: its plan, its parts, one picture."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from PIL.Image import Image
from torch import Tensor

from flenwheel_core.adapters.lora_wearing import wear_for_good
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.memory.card import free_memory
from flenwheel_core.memory.drawing import TILE_OVERLAP_PX, DrawingPlan
from flenwheel_core.memory.phases import Phase
from flenwheel_core.models.protocols import PLAIN_SETUP, EditJob, GenerateJob, ModelSetup
from flenwheel_core.models.qwen_image.conditioning import EditSizes, decode_latents, to_picture
from flenwheel_core.models.qwen_image.drawing import draw
from flenwheel_core.models.qwen_image.fast_drawing import choose_drawing, fast_plan, load_fast
from flenwheel_core.models.qwen_image.loading import QwenEditModel, check_machine
from flenwheel_core.models.qwen_image.lora_host import read_editor_loras
from flenwheel_core.transformer.plan import OTHER_MODULES

if TYPE_CHECKING:
    from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, QwenImageTransformer2DModel


class QwenPainter:
    """Everything is encoded first, then the transformer is loaded: encoder and transformer never share the card.

    What the first pictures need decides the storage, before anything is loaded. LoRA files are read at once: one that does not fit raises
    InputError.
    """

    def __init__(self, model: QwenEditModel, cache: TensorCache, setup: ModelSetup = PLAIN_SETUP) -> None:
        self._model = model
        self._loras = read_editor_loras(setup.loras, model.folder)
        self._cache = cache
        self._setup = setup
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

    def _choose(self, sizes: Sequence[EditSizes]) -> None:
        if self._plan is not None or self._model.budget_gib is None:
            return
        chosen = choose_drawing(self._model, sizes, self._loras, self._setup.storage, self._setup.memory_level)
        self._model, self._plan = chosen
        check_machine(self._model)
        encoder = self._model.encoder_storage
        budget = self._model.budget_gib
        self._setup.note(f"memory plan: {self._plan.describe()} of {budget:.1f} GiB; encoder in {encoder}")

    def _draw(
        self, job: EditJob | GenerateJob, sizes: EditSizes, references: Tensor, text: Tensor, negative: Tensor | None
    ) -> Image:
        return self._picture(self._latents(job, sizes, references, text, negative), sizes)

    def _latents(
        self, job: EditJob | GenerateJob, sizes: EditSizes, references: Tensor, text: Tensor, negative: Tensor | None
    ) -> Tensor:
        """A picture before it is decoded; several threads may each draw one."""
        assert self._parts is not None
        transformer, scheduler, _ = self._parts
        return draw(
            transformer,
            copy(scheduler),  # it counts the steps of one picture
            sizes,
            references.to(self._model.device),
            text,
            negative,
            steps=job.sampler.steps,
            true_cfg=job.sampler.true_cfg,
            seed=job.seed,
            shift=job.shift if isinstance(job, EditJob) else None,
        )

    def _picture(self, latents: Tensor, sizes: EditSizes) -> Image:
        """Decoded in one thread only: the VAE keeps what it has seen of a picture in itself."""
        assert self._parts is not None
        return to_picture(self._decoded(self._parts[2], latents, sizes))

    def _decoded(self, vae: "AutoencoderKLQwenImage", latents: Tensor, sizes: EditSizes) -> Tensor:
        if self._plan is None or not self._plan.empties:
            return decode_latents(vae, latents, sizes.target)
        torch.cuda.empty_cache()
        pixels = decode_latents(vae, latents, sizes.target).cpu()
        torch.cuda.empty_cache()
        return pixels

    def _load(self) -> "tuple[QwenImageTransformer2DModel, FlowMatchEulerDiscreteScheduler, AutoencoderKLQwenImage]":
        plan = fast_plan(self._model)
        transformer: Any = load_fast(self._model, plan, self._loras, self._setup.shelf) if plan is not None else None
        if plan is not None and transformer is not None:
            self._setup.note(plan.kernel_line(self._model.device))
        elif self._model.device.type == "cuda":
            self._setup.note(OTHER_MODULES)
        if transformer is None:
            self._model = replace(self._model, storage=self._model.diffusers_storage)
            self._setup.make_room()
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
