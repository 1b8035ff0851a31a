"""FLUX.1: a base model that draws from text, and Kontext, an editor; the trainers of their LoRAs."""

from flenwheel_core.models.family import Family

_HERE = "flenwheel_core.models.flux1"
_BASES = ("FluxPipeline",)
_EDITORS = ("FluxKontextPipeline",)
FAMILY = Family(
    name="FLUX.1",
    classes=(*_BASES, *_EDITORS),
    only={"generator": _BASES, "trainer": _BASES, "prompts": _BASES, "editor": _EDITORS, "edit_trainer": _EDITORS},
    generator=f"{_HERE}.generator:open_generator",
    trainer=f"{_HERE}.trainer:open_trainer",
    editor=f"{_HERE}.editor:open_editor",
    edit_trainer=f"{_HERE}.edit_trainer:open_trainer",
    prompts=f"{_HERE}.prompt_model:open_prompts",
    linears=f"{_HERE}.lora_host:model_linears",
    planner=f"{_HERE}.memory:card_plans",
    lora_layouts={"kohya": f"{_HERE}.kohya:to_kohya"},
    comfyui=f"{_HERE}.comfyui:graph",
    pipeline_call=f"{_HERE}.pipeline_call:arguments",
    single_file=f"{_HERE}.single_file:parts",
    card_tag="flux",
    architectures=("flux-1-dev/lora", "flux-1-kontext-dev/lora"),
)
