"""FLUX.2 klein: a base that draws and an editor in one model; the trainers of its LoRAs."""

from flenwheel_core.models.family import Family

_HERE = "flenwheel_core.models.flux2"
FAMILY = Family(
    name="FLUX.2",
    classes=("Flux2KleinPipeline",),
    generator=f"{_HERE}.artist:open_artist",
    trainer=f"{_HERE}.trainer:open_trainer",
    editor=f"{_HERE}.artist:open_artist",
    edit_trainer=f"{_HERE}.edit_trainer:open_trainer",
    linears=f"{_HERE}.lora_host:model_linears",
    planner=f"{_HERE}.card_plans:card_plans",
    lora_layouts={"comfyui": f"{_HERE}.bfl_layout:to_bfl"},
    comfyui=f"{_HERE}.comfyui:graph",
    pipeline_call=f"{_HERE}.pipeline_call:arguments",
    card_tag="flux2",
    architectures=("flux-2-klein/lora",),
    most_pictures={"Flux2KleinPipeline": 4},
    idle_keys={"guidance": "klein has no guidance embedding; leave it out"},
)
