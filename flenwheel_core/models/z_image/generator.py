"""Z-Image as an image generator."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from flenwheel_core.adapters.lora_reading import adapter_weights, read_loras
from flenwheel_core.adapters.lora_wearing import wear_for_good
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.storages import TextFormat
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.kernels.attention import cudnn_attention_works
from flenwheel_core.memory.card import free_memory, multiplies_fp8
from flenwheel_core.memory.drawing import DrawingPlan
from flenwheel_core.models.card_plan import CardRoom
from flenwheel_core.models.protocols import PLAIN_SETUP, GenerateJob, Made, ModelSetup
from flenwheel_core.models.z_image.adapter import head_width, load_with_loras
from flenwheel_core.models.z_image.drawing import DrawingParts, draw_picture
from flenwheel_core.models.z_image.encoding import encode_prompts
from flenwheel_core.models.z_image.fast import FAST_NAMES
from flenwheel_core.models.z_image.geometry import NO_PROMPT
from flenwheel_core.models.z_image.loading import ZImageModel
from flenwheel_core.models.z_image.memory import drawing_memory
from flenwheel_core.models.z_image.names import z_image_host
from flenwheel_core.transformer.adapted import is_covered
from flenwheel_core.transformer.plan import OTHER_MODULES, FastPlan


class ZImageGenerator:
    """Prompts are encoded first, then the transformer is loaded: the two never share the card.

    LoRA files are read at once: one that does not fit raises InputError before anything is loaded.
    """

    def __init__(self, model: ZImageModel, cache: TensorCache, setup: ModelSetup = PLAIN_SETUP) -> None:
        self._model = model
        self._loras = read_loras(setup.loras, z_image_host(model.folder)) if setup.loras else ()
        self._cache = cache
        self._setup = setup
        self._plan: DrawingPlan | None = None
        self._parts: DrawingParts | None = None

    @property
    def model(self) -> str:
        """The reference with the storage that the transformer really has."""
        storage = "dense" if self._plan is None else self._plan.storage
        return self._model.reference if storage == "dense" else f"{self._model.reference}+{storage}"

    def generate(self, jobs: Iterable[GenerateJob]) -> Iterator[Made]:
        """Yields each picture as it is finished; the same job always gives the same picture.

        Raises ResourceError before anything loads if the pictures do not fit the card.
        """
        waiting = list(jobs)
        if not waiting:
            return
        encoder = self._choose(max(job.sampler.width * job.sampler.height for job in waiting))
        texts = [job.prompt for job in waiting]
        texts += [NO_PROMPT] if any(job.sampler.true_cfg > 1 for job in waiting) else []
        prompts = encode_prompts(self._model, texts, cache=self._cache, storage=encoder)
        if self._parts is None:
            self._parts = self._load()
        empties = self._plan is not None and self._plan.empties
        for job in waiting:
            negative = prompts[NO_PROMPT] if job.sampler.true_cfg > 1 else None
            image = draw_picture(self._parts, prompts[job.prompt], negative, job.sampler, job.seed, empties=empties)
            yield Made(job.key, image)

    def _choose(self, pixels: int) -> TextFormat:
        """The encoder's storage, and once the plan of drawing."""
        model = self._model
        if model.budget_gib is None:
            return "bf16"
        encoder = model.encoder_format(memory_level=self._setup.memory_level)
        if self._plan is None:
            self._plan = drawing_memory(
                model.folder,
                pixels=pixels,
                adapter_weights=adapter_weights(self._loras),
                card=CardRoom(model.budget_gib, multiplies_fp8(model.device)),
                memory_level=self._setup.memory_level,
                exact=not self._is_covered,
            )
            plan, read = self._plan.describe(), model.encoder_line(encoder)
            self._setup.note(f"memory plan: {plan} of {model.budget_gib:.1f} GiB; encoder {read}")
        return encoder

    def _load(self) -> DrawingParts:
        vae = self._model.load_vae()
        if self._plan is not None and self._plan.tile_px is not None:
            vae.enable_tiling()
            vae.tile_sample_min_size, vae.tile_latent_min_size = self._plan.tile_px, self._plan.tile_px // 8
        return DrawingParts(self._transformer(), self._model.load_scheduler(), vae, self._model.device)

    @property
    def _is_covered(self) -> bool:
        return all(is_covered(FAST_NAMES, lora) for lora in self._loras)

    def _transformer(self) -> Any:
        model = self._model
        if self._plan is not None and self._is_covered:
            fast = FastPlan(storage=self._plan.storage, cudnn=cudnn_attention_works(model.device, head_width(model)))
            self._setup.note(fast.kernel_line(model.device))
            return load_with_loras(model, fast, self._loras, self._setup.shelf).transformer
        if self._plan is not None:
            self._setup.note(OTHER_MODULES)
        self._setup.make_room()
        transformer = model.load_transformer()
        wear_for_good(transformer, self._loras)
        return transformer

    def close(self) -> None:
        self._parts = None
        free_memory()


def open_generator(
    folder: Path, reference: str, settings: Settings, setup: ModelSetup = PLAIN_SETUP
) -> closing[ZImageGenerator]:
    """The generator in `folder`; its memory is free again afterwards."""
    cache = TensorCache(settings.scratch / "cache" / "z_image", ahead=setup.make_room)
    return closing(ZImageGenerator(ZImageModel.find(folder, reference, settings), cache, setup))
