"""How ZImagePipeline is told of guidance: its scale is one less than this program's, and 0 is off."""

from pathlib import Path

from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.pipeline_call import PipelineCall

NO_PROMPT = ""
"""As in `geometry.py`, which loads torch."""


def arguments(sampler: Sampler, _folder: Path | None) -> PipelineCall:
    """The pipeline mixes wanted + scale (wanted - unwanted); see `drawing.py`."""
    if sampler.true_cfg <= 1:
        return {"guidance_scale": 0.0}
    return {"guidance_scale": sampler.true_cfg - 1, "negative_prompt": NO_PROMPT}
