"""Qwen-Image (the first, -2512), a base that draws from text, and Qwen-Image-Edit (the first, -2509, -2511), an editor; both trainers."""

from flenwheel_core.models.family import Family

_HERE = "flenwheel_core.models.qwen_image"
_BASES = ("QwenImagePipeline",)
_EDITORS = ("QwenImageEditPipeline", "QwenImageEditPlusPipeline")
FAMILY = Family(
    name="Qwen-Image",
    classes=(*_BASES, *_EDITORS),
    only={"generator": _BASES, "trainer": _BASES, "prompts": _BASES, "editor": _EDITORS, "edit_trainer": _EDITORS},
    generator=f"{_HERE}.generator:open_generator",
    trainer=f"{_HERE}.character_trainer:open_trainer",
    editor=f"{_HERE}.editor:open_editor",
    edit_trainer=f"{_HERE}.trainer:open_trainer",
    prompts=f"{_HERE}.prompt_model:open_prompts",
    linears=f"{_HERE}.lora_host:model_linears",
    planner=f"{_HERE}.card_plans:card_plans",
    comfyui=f"{_HERE}.comfyui:graph",
    pipeline_call=f"{_HERE}.pipeline_call:arguments",
    card_tag="qwen-image",
    architectures=("qwen-image-edit/lora", "qwen-image/lora"),
    most_pictures={"QwenImageEditPlusPipeline": 3},
    idle_keys={
        "guidance": "Qwen-Image has no guidance embedding; leave it out",
        "text_encoder_format": "its encoder's storage is chosen for the card; leave it out",
        "cuda_graphs": "its captions are of any length, and each would be a graph of its own; leave it out",
    },
)
