"""FLUX.2 klein as an image generator and as an image editor: one class, because it is one model that does both."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL.Image import Image

from flenwheel_core.adapters.lora_reading import adapter_weights, read_loras
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.storages import TextFormat
from flenwheel_core.engine.placed_pictures import PlacedPicture, picture_digest
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.images.buckets import Placement
from flenwheel_core.kernels.attention import cudnn_attention_works
from flenwheel_core.memory.card import free_memory, multiplies_fp8
from flenwheel_core.memory.drawing import DrawingPlan
from flenwheel_core.memory.phases import Phase, measured
from flenwheel_core.models.card_plan import CardRoom
from flenwheel_core.models.flux2.adapter import load_plain, load_with_loras
from flenwheel_core.models.flux2.drawing import Drawing, DrawingParts, draw_picture
from flenwheel_core.models.flux2.encoding import encode_pictures, encode_prompts
from flenwheel_core.models.flux2.fast import FAST_NAMES
from flenwheel_core.models.flux2.geometry import (
    PIXELS_PER_TOKEN,
    TEXT_TOKENS,
    Latents,
    Size,
    reference_placement,
    source_placement,
    whole_size,
)
from flenwheel_core.models.flux2.loading import Flux2Model
from flenwheel_core.models.flux2.lora_host import flux2_host
from flenwheel_core.models.flux2.memory import drawing_memory, largest_of
from flenwheel_core.models.protocols import PLAIN_SETUP, EditJob, GenerateJob, Made, ModelSetup
from flenwheel_core.transformer.adapted import is_covered, require_covered
from flenwheel_core.transformer.plan import OTHER_MODULES, FastPlan
from flenwheel_core.transformer.shell import transformer_config

NO_PROMPT = ""
"""What the pipeline steers away from."""


@dataclass(frozen=True)
class _Wish:
    """A picture to draw or an edit to make, before anything is encoded."""

    job: GenerateJob | EditJob
    size: Size
    pictures: tuple[PlacedPicture, ...] = ()

    @property
    def tokens(self) -> int:
        """Of picture, references and prompt."""
        sizes = [self.size, *((one.placement.width, one.placement.height) for one in self.pictures)]
        return TEXT_TOKENS + sum(width * height for width, height in sizes) // PIXELS_PER_TOKEN**2


class KleinArtist:
    """Prompts are encoded first, then references, then the transformer is loaded: encoder and transformer do not share the card.

    LoRA files are read at once: one that does not fit raises InputError before anything is loaded. Once loaded, the same weights draw
    and edit; the first call decides the memory plan, and prompts that are new in a later call are encoded beside the transformer.
    """

    def __init__(self, model: Flux2Model, cache: TensorCache, setup: ModelSetup = PLAIN_SETUP) -> None:
        self._model = model
        self._loras = read_loras(setup.loras, flux2_host(model.folder)) if setup.loras else ()
        self._cache = cache
        self._setup = setup
        self._plan: DrawingPlan | None = None
        self._parts: DrawingParts | None = None
        self._phases: list[Phase] = []

    @property
    def model(self) -> str:
        """The reference with the storage that the transformer really has."""
        storage = "dense" if self._plan is None else self._plan.storage
        return self._model.reference if storage == "dense" else f"{self._model.reference}+{storage}"

    @property
    def phases(self) -> Sequence[Phase]:
        """What each part of the work took so far."""
        return tuple(self._phases)

    def generate(self, jobs: Iterable[GenerateJob]) -> Iterator[Made]:
        """Yields each picture as it is finished; the same job always gives the same picture.

        Raises ResourceError before anything loads if the pictures do not fit the card.
        """
        yield from self._make([_Wish(job, whole_size((job.sampler.width, job.sampler.height))) for job in jobs])

    def edit(self, jobs: Iterable[EditJob]) -> Iterator[Made]:
        """Yields each edit as it is finished: about as many pixels as the sampler says, in the source's shape.

        The same job always gives the same picture. Raises ResourceError before anything loads if the edits do not fit the card.
        """
        yield from self._make([_edit(job) for job in jobs])

    def _make(self, wishes: Sequence[_Wish]) -> Iterator[Made]:
        if not wishes:
            return
        self._choose(wishes)
        guided = [wish.job.sampler.true_cfg > 1 and not self._model.is_distilled for wish in wishes]
        texts = [wish.job.prompt for wish in wishes] + ([NO_PROMPT] if any(guided) else [])
        with measured("prompts", self._model.device, self._phases):
            prompts = encode_prompts(self._model, texts, cache=self._cache, storage=self._encoder_storage())
        with measured("pictures", self._model.device, self._phases):
            references = self._references(wishes)
        if self._parts is None:
            with measured("loading", self._model.device, self._phases):
                self._parts = self._load()
        with measured("drawing", self._model.device, self._phases):
            for wish, clean, needs in zip(wishes, references, guided, strict=True):
                job, sampler = wish.job, wish.job.sampler
                drawing = Drawing(
                    size=wish.size,
                    seed=job.seed,
                    steps=sampler.steps,
                    prompt=prompts[job.prompt],
                    negative=prompts[NO_PROMPT] if needs else None,
                    true_cfg=sampler.true_cfg,
                    references=clean,
                    shift=job.shift if isinstance(job, EditJob) else None,
                )
                yield Made(job.key, self._drawn(drawing))

    def _choose(self, wishes: Sequence[_Wish]) -> None:
        if self._plan is not None or self._model.budget_gib is None:
            return
        sizes = [(wish.tokens, wish.size[0] * wish.size[1]) for wish in wishes]
        self._plan = drawing_memory(
            self._model.folder,
            transformer_config(self._model.folder),
            largest_of(sizes, adapter_weights(self._loras)),
            CardRoom(self._model.budget_gib, multiplies_fp8(self._model.device)),
            wanted=self._setup.storage,
            memory_level=self._setup.memory_level,
        )
        if self._plan.storage != "dense":
            require_covered(FAST_NAMES, self._loras)
        budget, encoders = self._model.budget_gib, self._model.encoder_line(self._encoder_storage())
        self._setup.note(f"memory plan: {self._plan.describe()} of {budget:.1f} GiB; encoder {encoders}")

    def _encoder_storage(self) -> TextFormat:
        return self._model.encoder_format(memory_level=self._setup.memory_level)

    def _references(self, wishes: Sequence[_Wish]) -> list[list[Latents]]:
        """The clean tokens of each wish's pictures, source first."""
        encoded = iter(
            encode_pictures(self._model, [one for wish in wishes for one in wish.pictures], cache=self._cache)
        )
        return [[next(encoded) for _ in wish.pictures] for wish in wishes]

    def _load(self) -> DrawingParts:
        vae = self._model.load_vae()
        if self._plan is not None and self._plan.tile_px is not None:
            vae.enable_tiling()
            vae.tile_sample_min_size, vae.tile_latent_min_size = self._plan.tile_px, self._plan.tile_px // 8
        return DrawingParts(self._transformer(), self._model.load_scheduler(), vae)

    def _transformer(self) -> Any:
        if self._plan is not None and all(is_covered(FAST_NAMES, lora) for lora in self._loras):
            head = int(transformer_config(self._model.folder)["attention_head_dim"])
            plan = FastPlan(storage=self._plan.storage, cudnn=cudnn_attention_works(self._model.device, head))
            self._setup.note(plan.kernel_line(self._model.device))
            return load_with_loras(self._model, plan, self._loras, self._setup.shelf).transformer
        if self._plan is not None:
            self._setup.note(OTHER_MODULES)
        return load_plain(self._model, self._loras, self._setup.shelf)

    def _drawn(self, drawing: Drawing) -> Image:
        assert self._parts is not None
        empties = self._plan is not None and self._plan.empties
        return draw_picture(self._parts, drawing, self._model.device, empties=empties)

    def close(self) -> None:
        self._parts = None
        free_memory()


def _edit(job: EditJob) -> _Wish:
    area = job.sampler.width * job.sampler.height
    source, *further = job.images
    places = [source_placement(source.size, area), *(reference_placement(one.size, area) for one in further)]
    pictures = tuple(_placed(image, place) for image, place in zip(job.images, places, strict=True))
    return _Wish(job, (places[0].width, places[0].height), pictures)


def _placed(image: Image, placement: Placement) -> PlacedPicture:
    return PlacedPicture(picture_digest(image), placement, partial(_given, image))


def _given(image: Image) -> Image:
    return image


def open_artist(
    folder: Path, reference: str, settings: Settings, setup: ModelSetup = PLAIN_SETUP
) -> closing[KleinArtist]:
    """The model in `folder`, to draw and to edit; its memory is free again afterwards."""
    cache = TensorCache(settings.scratch / "cache" / "flux2", ahead=setup.make_room)
    return closing(KleinArtist(Flux2Model.find(folder, reference, settings), cache, setup))
