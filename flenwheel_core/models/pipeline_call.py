"""How diffusers' own pipelines are called so that they draw what this program draws: guidance has another name in each family.

A family's entry `pipeline_call` adds what its pipeline needs beside steps and size. Prompts are to be given by name: the first place of a
pipeline that also edits is a picture's.
"""

from pathlib import Path

from flenwheel_core.adapters.lora_header import file_metadata
from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.embedded import is_shipped_here, weights_folder
from flenwheel_core.models.family import Family
from flenwheel_core.models.known_models import KNOWN_MODELS
from flenwheel_core.models.references import ModelRole, hub_reference, is_shipped, shipped_part
from flenwheel_core.models.registry import families, family_of, family_of_architecture, load_entry

PipelineCall = dict[str, int | float | str]
"""Arguments of a pipeline by name: all but the prompt and the generator."""


def lora_call(lora: bytes, base: str, sampler: Sampler, models: Path | None = None) -> PipelineCall:
    """What the base's pipeline is called with to draw with a LoRA file; `models` is the folder of weights, for a base that is shipped."""
    part = shipped_part(base, ModelRole.GENERATOR) if is_shipped(base) else None
    folder = weights_folder(part, models) if part is not None and is_shipped_here(part) else None
    return pipeline_call(_family(lora, base, folder), sampler, folder)


def pipeline_call(family: Family | None, sampler: Sampler, folder: Path | None = None) -> PipelineCall:
    """What a family's pipeline is called with, of the model in `folder` where that is here.

    Steps and size alone if nobody knows the family.
    """
    plain: PipelineCall = {"num_inference_steps": sampler.steps, "width": sampler.width, "height": sampler.height}
    if family is None or not family.pipeline_call:
        return plain
    more: PipelineCall = load_entry(family.pipeline_call)(sampler, folder)
    return plain | more


def _family(lora: bytes, base: str, folder: Path | None) -> Family | None:
    """As the file says, else as the base is known; None if neither says."""
    found = family_of_architecture(file_metadata(lora).get("modelspec.architecture", ""))
    if found is not None:
        return found
    if folder is not None:
        return family_of(folder)
    hub = hub_reference(base)
    known = None if hub is None else KNOWN_MODELS.get(hub[0])
    return next((one for one in families() if known is not None and one.name == known.family), None)
