"""FLUX as an image generator."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from flenwheel_core.adapters.lora_file import LoraFiles
from flenwheel_core.adapters.lora_reading import adapter_weights, read_loras
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.memory.card import free_memory
from flenwheel_core.models.flux1.drawing import draw, drawing_pipeline
from flenwheel_core.models.flux1.drawing_parts import load_parts, say_chosen
from flenwheel_core.models.flux1.encoding import encode_captions
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.lora_host import flux_host
from flenwheel_core.models.flux1.memory import TEXT_TOKENS, ChosenDrawing, choose_drawing, largest_of
from flenwheel_core.models.protocols import WORKING, GenerateJob, Made, Working

if TYPE_CHECKING:
    from diffusers import FluxPipeline


class FluxGenerator:
    """Prompts are encoded first, then the transformer is loaded: the two never share the card.

    LoRA files are read at once: one that does not fit raises InputError before anything is loaded.
    """

    def __init__(self, model: FluxModel, loras: LoraFiles, cache: TensorCache, working: Working = WORKING) -> None:
        self._model = model
        self._loras = read_loras(loras, flux_host(model.folder)) if loras else ()
        self._cache = cache
        self._working = working
        self._chosen: ChosenDrawing | None = None
        self._pipeline: FluxPipeline | None = None

    @property
    def model(self) -> str:
        return self._model.reference

    def generate(self, jobs: Iterable[GenerateJob]) -> Iterator[Made]:
        """Yields each picture as it is finished; the same job always gives the same picture.

        Raises ResourceError before anything loads if the pictures do not fit the card.
        """
        waiting = list(jobs)
        if not waiting:
            return
        if self._pipeline is None:
            self._choose([job.sampler.width * job.sampler.height for job in waiting])
        negative = "" if any(job.sampler.true_cfg > 1 for job in waiting) else None
        texts = [job.prompt for job in waiting] + ([negative] if negative is not None else [])
        storage = "bf16" if self._chosen is None else self._chosen.encoders
        captions = encode_captions(self._model, texts, tokens=TEXT_TOKENS, cache=self._cache, storage=storage)
        if self._pipeline is None:
            self._pipeline = self._load()
        empties = self._chosen is not None and self._chosen.memory.empties
        for job in waiting:
            opposite = captions[negative] if negative is not None else None
            image = draw(
                self._model, self._pipeline, captions[job.prompt], job.sampler, job.seed, opposite, empties=empties
            )
            yield Made(job.key, image)

    def _choose(self, sizes: Sequence[int]) -> None:
        largest = largest_of([(pixels, 0) for pixels in sizes], adapter_weights(self._loras))
        self._chosen = choose_drawing(self._model, largest, memory_level=self._working.memory_level)
        say_chosen(self._chosen, self._model, self._loras, self._working)

    def _load(self) -> "FluxPipeline":
        from diffusers import FluxPipeline

        parts = load_parts(self._model, self._chosen, self._loras, self._working)
        return drawing_pipeline(FluxPipeline, self._model, *parts)

    def close(self) -> None:
        self._pipeline = None
        free_memory()


def open_generator(
    folder: Path, reference: str, settings: Settings, loras: LoraFiles = (), working: Working = WORKING
) -> closing[FluxGenerator]:
    """The generator in `folder`, with LoRAs; its memory is free again afterwards."""
    cache = TensorCache(settings.scratch / "cache" / "flux")
    return closing(FluxGenerator(FluxModel.find(folder, reference, settings), loras, cache, working))
