"""Z-Image: a base model that draws from text, and the trainer of its LoRAs."""

from flenwheel_core.models.family import Family

_HERE = "flenwheel_core.models.z_image"
FAMILY = Family(
    name="Z-Image",
    classes=("ZImagePipeline",),
    generator=f"{_HERE}.generator:open_generator",
    trainer=f"{_HERE}.trainer:open_trainer",
    linears=f"{_HERE}.names:model_linears",
    planner=f"{_HERE}.memory:card_plans",
    comfyui=f"{_HERE}.comfyui:graph",
    pipeline_call=f"{_HERE}.pipeline_call:arguments",
    card_tag="z-image",
    architectures=("z-image/lora",),
    idle_keys={"guidance": "Z-Image has no guidance embedding; leave it out"},
)
