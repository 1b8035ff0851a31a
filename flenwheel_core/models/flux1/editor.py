"""FLUX.1 Kontext as an image editor: FLUX.1's transformer, with the clean tokens of the source behind the noisy ones."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL.Image import Image, Resampling
from torch import Tensor

from flenwheel_core.adapters.lora_file import LoraFiles
from flenwheel_core.adapters.lora_reading import adapter_weights, read_loras
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.placed_pictures import PlacedPicture, picture_digest
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.images.buckets import Placement
from flenwheel_core.memory.card import free_memory
from flenwheel_core.memory.phases import Phase, measured
from flenwheel_core.models.flux1.drawing import draw, drawing_pipeline
from flenwheel_core.models.flux1.drawing_parts import load_parts, say_chosen
from flenwheel_core.models.flux1.edit_sizes import preferred_placement, unstretched
from flenwheel_core.models.flux1.encoding import Caption, encode_captions, encode_pictures
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.lora_host import flux_host
from flenwheel_core.models.flux1.memory import TEXT_TOKENS, ChosenDrawing, choose_drawing, largest_of
from flenwheel_core.models.flux1.packing import PIXELS_PER_TOKEN, unpack
from flenwheel_core.models.protocols import WORKING, EditJob, Made, Working

if TYPE_CHECKING:
    from diffusers import FluxKontextPipeline

    from flenwheel_core.documents.storages import EditorStorage
NO_PROMPT = ""
"""What true guidance steers away from."""


@dataclass(frozen=True)
class _Wish:
    """An edit to make, before anything is encoded."""

    job: EditJob
    source: PlacedPicture

    @property
    def placement(self) -> Placement:
        return self.source.placement


class KontextEditor:
    """Prompts are encoded first, then sources, then the transformer is loaded: encoders and transformer never share the card.

    LoRA files are read at once: one that does not fit raises InputError before anything is loaded.
    """

    def __init__(
        self,
        model: FluxModel,
        loras: LoraFiles,
        cache: TensorCache,
        storage: "EditorStorage | None" = None,
        working: Working = WORKING,
    ) -> None:
        self._model = model
        self._loras = read_loras(loras, flux_host(model.folder)) if loras else ()
        self._cache = cache
        self._wanted = storage
        self._working = working
        self._chosen: ChosenDrawing | None = None
        self._pipeline: FluxKontextPipeline | None = None
        self._phases: list[Phase] = []

    @property
    def model(self) -> str:
        """The reference with the storage that the transformer really has."""
        storage = "dense" if self._chosen is None else self._chosen.memory.storage
        return self._model.reference if storage == "dense" else f"{self._model.reference}+{storage}"

    @property
    def phases(self) -> Sequence[Phase]:
        """What each part of the work took so far."""
        return tuple(self._phases)

    def edit(self, jobs: Iterable[EditJob]) -> Iterator[Made]:
        """Yields each edit as it is finished: about as many pixels as the sampler says, in the source's shape.

        The same job always gives the same picture. Raises InputError for more than one reference, and ResourceError if the edits do
        not fit the card, before anything loads.
        """
        wishes = [_wish(job) for job in jobs]
        if not wishes:
            return
        if self._pipeline is None:
            self._choose(wishes)
        texts = [wish.job.prompt for wish in wishes]
        if any(wish.job.sampler.true_cfg > 1 for wish in wishes):
            texts.append(NO_PROMPT)
        storage = "bf16" if self._chosen is None else self._chosen.encoders
        with measured("prompts", self._model.device, self._phases):
            captions = encode_captions(self._model, texts, tokens=TEXT_TOKENS, cache=self._cache, storage=storage)
        with measured("pictures", self._model.device, self._phases):
            sources = encode_pictures(self._model, [wish.source for wish in wishes], cache=self._cache)
        if self._pipeline is None:
            with measured("loading", self._model.device, self._phases):
                self._pipeline = self._load()
        with measured("drawing", self._model.device, self._phases):
            for wish, tokens in zip(wishes, sources, strict=True):
                edited = self._drawn(self._pipeline, wish, captions, tokens)
                size = unstretched(wish.job.images[0].size, edited.size)
                yield Made(wish.job.key, edited if size == edited.size else edited.resize(size, Resampling.LANCZOS))

    def _choose(self, wishes: Sequence[_Wish]) -> None:
        sizes = [(wish.placement.width * wish.placement.height, 1) for wish in wishes]
        largest = largest_of(sizes, adapter_weights(self._loras))
        level = self._working.memory_level
        self._chosen = choose_drawing(self._model, largest, memory_level=level, wanted=self._wanted)
        say_chosen(self._chosen, self._model, self._loras, self._working)

    def _load(self) -> "FluxKontextPipeline":
        from diffusers import FluxKontextPipeline

        parts = load_parts(self._model, self._chosen, self._loras, self._working)
        return drawing_pipeline(FluxKontextPipeline, self._model, *parts)

    def _drawn(
        self, pipeline: "FluxKontextPipeline", wish: _Wish, captions: dict[str, Caption], tokens: Tensor
    ) -> Image:
        width, height = wish.placement.width, wish.placement.height
        schedule: dict[str, object] = {}
        if wish.job.shift is not None:
            schedule = {"use_dynamic_shifting": False, "shift": wish.job.shift}
        own = self._model.load_scheduler()
        pipeline.scheduler = type(own).from_config(own.config, **schedule)
        return draw(
            self._model,
            pipeline,
            captions[wish.job.prompt],
            wish.job.sampler.model_copy(update={"width": width, "height": height}),
            wish.job.seed,
            captions.get(NO_PROMPT),
            empties=self._chosen is not None and self._chosen.memory.empties,
            reference=unpack(tokens[None], height // PIXELS_PER_TOKEN, width // PIXELS_PER_TOKEN),
        )

    def close(self) -> None:
        self._pipeline = None
        free_memory()


def _wish(job: EditJob) -> _Wish:
    if len(job.images) > 1:
        raise InputError(
            f"FLUX.1 Kontext edits one picture, and edit {job.key} has {len(job.images)}.",
            why="the released model was trained with one reference.",
            remedy="Set references = 1 in the recipe's [enrich], or name an editor that takes several.",
        )
    (source,) = job.images
    placement = preferred_placement(source.size, job.sampler.width * job.sampler.height)
    return _Wish(job, PlacedPicture(picture_digest(source), placement, lambda: source))


def open_editor(
    folder: Path,
    reference: str,
    settings: Settings,
    loras: LoraFiles = (),
    storage: "EditorStorage | None" = None,
    working: Working = WORKING,
) -> closing[KontextEditor]:
    """The editor in `folder`, with LoRAs. `storage` None: the most exact one that fits."""
    cache = TensorCache(settings.scratch / "cache" / "flux")
    model = FluxModel.find(folder, reference, settings)
    return closing(KontextEditor(model, loras, cache, storage, working))
