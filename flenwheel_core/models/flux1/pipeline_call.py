"""How FluxPipeline is told of guidance: an embedding, and, where it is asked for, a second call with a negative prompt."""

import json
from pathlib import Path

from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.pipeline_call import PipelineCall

TEXT_TOKENS = 512
"""The pipeline's own, and `memory.py`'s."""


def arguments(sampler: Sampler, folder: Path | None) -> PipelineCall:
    """Without a negative prompt the pipeline leaves true guidance out, whatever its scale."""
    call: PipelineCall = {"guidance_scale": sampler.guidance}
    if sampler.true_cfg > 1:
        call |= {"true_cfg_scale": sampler.true_cfg, "negative_prompt": ""}
    tokens = TEXT_TOKENS if folder is None else _longest_text(folder)
    return call if tokens >= TEXT_TOKENS else call | {"max_sequence_length": tokens}


def _longest_text(folder: Path) -> int:
    """What its T5 reads: the transformer sees padding, so a longer one gives another picture."""
    config = json.loads((folder / "tokenizer_2" / "tokenizer_config.json").read_text())
    return int(config.get("model_max_length", TEXT_TOKENS))
