"""FLUX.1: a base model that draws from text, and the trainer of its LoRAs."""

from flenwheel_core.models.family import Family

_HERE = "flenwheel_core.models.flux1"
FAMILY = Family(
    name="FLUX.1",
    classes=("FluxPipeline",),
    generator=f"{_HERE}.generator:open_generator",
    trainer=f"{_HERE}.trainer:open_trainer",
    planner=f"{_HERE}.memory:card_plans",
    lora_layouts={"kohya": f"{_HERE}.kohya:to_kohya"},
    card_tag="flux",
    architectures=("flux-1-dev/lora",),
)
