"""FLUX as an image generator."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flenwheel_core.families.flux.drawing import draw, drawing_pipeline
from flenwheel_core.families.flux.encoding import encode_captions
from flenwheel_core.families.flux.loading import FluxModel, find_model, free_memory
from flenwheel_core.families.flux.lora_host import flux_host
from flenwheel_core.families.flux.lora_load import load_with_loras, require_fast
from flenwheel_core.families.flux.memory import plan_drawing
from flenwheel_core.families.lora_reading import read_loras
from flenwheel_core.families.lora_wearing import wear
from flenwheel_core.families.protocols import GenerateJob, LoraFile, Made
from flenwheel_core.settings import Settings
from flenwheel_core.training.cache import TensorCache

if TYPE_CHECKING:
    from diffusers import FluxPipeline

TEXT_TOKENS = 512


class FluxGenerator:
    """Prompts are encoded first, then the transformer is loaded: the two never share the card.

    LoRA files are read at once: one that does not fit raises InputError before anything is loaded.
    """

    def __init__(self, model: FluxModel, loras: tuple[LoraFile, ...], cache: TensorCache) -> None:
        self._model = model
        self._loras = read_loras(loras, flux_host(model.folder)) if loras else ()
        if plan_drawing(model) is not None:
            require_fast(self._loras)
        self._cache = cache
        self._pipeline: FluxPipeline | None = None

    @property
    def model(self) -> str:
        return self._model.reference

    def generate(self, jobs: Iterable[GenerateJob]) -> Iterator[Made]:
        """Yields each picture as it is finished; the same job always gives the same picture."""
        waiting = list(jobs)
        negative = "" if any(job.sampler.true_cfg > 1 for job in waiting) else None
        texts = [job.prompt for job in waiting] + ([negative] if negative is not None else [])
        captions = encode_captions(self._model, texts, tokens=TEXT_TOKENS, cache=self._cache)
        if self._pipeline is None:
            self._pipeline = self._load()
        for job in waiting:
            opposite = captions[negative] if negative is not None else None
            image = draw(self._model, self._pipeline, captions[job.prompt], job.sampler, job.seed, opposite)
            yield Made(job.key, image)

    def _load(self) -> "FluxPipeline":
        plan = plan_drawing(self._model)
        if plan is not None:
            adapted = load_with_loras(self._model, plan, self._loras, cache=self._cache)
            return drawing_pipeline(self._model, adapted.transformer, self._model.load_vae())
        pipeline = drawing_pipeline(self._model, self._model.load_transformer(), self._model.load_vae())
        wear(pipeline.transformer, self._loras)
        return pipeline

    def close(self) -> None:
        self._pipeline = None
        free_memory()


@contextmanager
def open_generator(
    folder: Path, reference: str, settings: Settings, loras: tuple[LoraFile, ...] = ()
) -> Iterator[FluxGenerator]:
    """The generator in `folder`, with LoRAs; its memory is free again afterwards."""
    generator = FluxGenerator(
        find_model(folder, reference, settings), loras, TensorCache(settings.scratch / "cache" / "flux")
    )
    try:
        yield generator
    finally:
        generator.close()
