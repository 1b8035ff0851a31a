"""FLUX.1 Kontext as an image editor: FLUX.1's transformer, with the clean tokens of the source behind the noisy ones."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL.Image import Image, Resampling
from torch import Tensor

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.placed_pictures import PlacedPicture, picture_digest
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.images.buckets import Placement
from flenwheel_core.memory.phases import Phase, measured
from flenwheel_core.models.flux1.drawing import draw
from flenwheel_core.models.flux1.edit_sizes import preferred_placement, unstretched
from flenwheel_core.models.flux1.encoding import Caption, encode_captions, encode_pictures
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.memory import TEXT_TOKENS
from flenwheel_core.models.flux1.packing import PIXELS_PER_TOKEN, unpack
from flenwheel_core.models.flux1.painter import FluxPainter
from flenwheel_core.models.protocols import PLAIN_SETUP, EditJob, Made, ModelSetup

if TYPE_CHECKING:
    from diffusers import FluxKontextPipeline

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


class KontextEditor(FluxPainter):
    """Makes edits of pictures. Sources are encoded after the prompts, before the transformer is loaded."""

    def __init__(self, model: FluxModel, cache: TensorCache, setup: ModelSetup = PLAIN_SETUP) -> None:
        super().__init__(model, cache, setup)
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
            self._choose([(wish.placement.width * wish.placement.height, 1) for wish in wishes])
        texts = [wish.job.prompt for wish in wishes]
        if any(wish.job.sampler.true_cfg > 1 for wish in wishes):
            texts.append(NO_PROMPT)
        storage = "bf16" if self._chosen is None else self._chosen.encoders
        with measured("prompts", self._model.device, self._phases):
            captions = encode_captions(self._model, texts, tokens=TEXT_TOKENS, cache=self._cache, storage=storage)
        with measured("pictures", self._model.device, self._phases):
            sources = encode_pictures(self._model, [wish.source for wish in wishes], cache=self._cache)
        if self._pipeline is None:
            from diffusers import FluxKontextPipeline

            with measured("loading", self._model.device, self._phases):
                self._pipeline = self._load(FluxKontextPipeline)
        with measured("drawing", self._model.device, self._phases):
            for wish, tokens in zip(wishes, sources, strict=True):
                edited = self._drawn(self._pipeline, wish, captions, tokens)
                size = unstretched(wish.job.images[0].size, edited.size)
                yield Made(wish.job.key, edited if size == edited.size else edited.resize(size, Resampling.LANCZOS))

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
    folder: Path, reference: str, settings: Settings, setup: ModelSetup = PLAIN_SETUP
) -> closing[KontextEditor]:
    """The editor in `folder`."""
    cache = TensorCache(settings.scratch / "cache" / "flux", ahead=setup.make_room)
    model = FluxModel.find(folder, reference, settings)
    return closing(KontextEditor(model, cache, setup))
