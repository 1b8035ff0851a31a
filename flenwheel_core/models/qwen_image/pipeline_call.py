"""How QwenImagePipeline is told of guidance: by a scale of its own and a negative prompt; `guidance_scale` it ignores."""

from pathlib import Path

from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.pipeline_call import PipelineCall

NO_PROMPT = " "
"""As in `conditioning.py`, which loads torch."""


def arguments(sampler: Sampler, _folder: Path | None) -> PipelineCall:
    """Guidance that is off is said, too: the pipeline's own scale is 4."""
    if sampler.true_cfg <= 1:
        return {"true_cfg_scale": 1.0}
    return {"true_cfg_scale": sampler.true_cfg, "negative_prompt": NO_PROMPT}
