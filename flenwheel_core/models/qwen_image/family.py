"""Qwen-Image-Edit (the first, -2509, -2511): an editor by instruction, and the trainer of its LoRAs."""

from flenwheel_core.models.family import Family

_HERE = "flenwheel_core.models.qwen_image"
FAMILY = Family(
    name="Qwen-Image",
    classes=("QwenImageEditPipeline", "QwenImageEditPlusPipeline"),
    editor=f"{_HERE}.editor:open_editor",
    edit_trainer=f"{_HERE}.trainer:open_trainer",
    planner=f"{_HERE}.card_plans:card_plans",
    card_tag="qwen-image",
    architectures=("qwen-image-edit/lora",),
)
