"""FLUX as an image generator."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.cores import cores_for, side_by_side
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.flux1.drawing import OwnPipelines, draw, drawing_pipeline
from flenwheel_core.models.flux1.encoding import encode_captions
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.memory import TEXT_TOKENS
from flenwheel_core.models.flux1.painter import FluxPainter
from flenwheel_core.models.protocols import PLAIN_SETUP, GenerateJob, Made, ModelSetup


class FluxGenerator(FluxPainter):
    """Draws pictures from text."""

    @property
    def model(self) -> str:
        return self._model.reference

    def generate(self, jobs: Iterable[GenerateJob]) -> Iterator[Made]:
        """Yields each picture as it is finished; the same job always gives the same picture.

        Raises ResourceError before anything loads if the pictures do not fit the card.
        """
        if not (waiting := list(jobs)):
            return
        if self._pipeline is None:
            self._choose([(job.sampler.width * job.sampler.height, 0) for job in waiting])
        negative = "" if any(job.sampler.true_cfg > 1 for job in waiting) else None
        texts = [job.prompt for job in waiting] + ([negative] if negative is not None else [])
        storage = "bf16" if self._chosen is None else self._chosen.encoders
        captions = encode_captions(self._model, texts, tokens=TEXT_TOKENS, cache=self._cache, storage=storage)
        from diffusers import FluxPipeline

        if self._pipeline is None:
            self._pipeline = self._load(FluxPipeline)
        empties = self._chosen is not None and self._chosen.memory.empties
        opposite = captions[negative] if negative is not None else None
        first = self._pipeline
        pipelines = OwnPipelines(lambda: drawing_pipeline(FluxPipeline, self._model, first.transformer, first.vae))

        def drawn(job: GenerateJob) -> Made:
            text, pipeline = captions[job.prompt], pipelines.own()
            image = draw(self._model, pipeline, text, job.sampler, job.seed, opposite, empties=empties)
            return Made(job.key, image)

        yield from side_by_side(drawn, waiting, cores_for(first.transformer))


def open_generator(
    folder: Path, reference: str, settings: Settings, setup: ModelSetup = PLAIN_SETUP
) -> closing[FluxGenerator]:
    """The generator in `folder`; its memory is free again afterwards."""
    cache = TensorCache(settings.scratch / "cache" / "flux", ahead=setup.make_room)
    return closing(FluxGenerator(FluxModel.find(folder, reference, settings), cache, setup))
