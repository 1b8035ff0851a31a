"""How Flux2KleinPipeline is told of guidance: its scale is that of the second call, and 1 is off."""

from pathlib import Path

from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.pipeline_call import PipelineCall


def arguments(sampler: Sampler, _folder: Path | None) -> PipelineCall:
    """The pipeline has the negative prompt itself, and leaves guidance out of a distilled model."""
    return {"guidance_scale": max(sampler.true_cfg, 1.0)}
