"""Qwen2.5-VL and Qwen3-VL: captions, judgements about pictures, and learning both."""

from flenwheel_core.models.family import Family

_HERE = "flenwheel_core.models.qwen_vl"
FAMILY = Family(
    name="Qwen-VL",
    classes=("Qwen2_5_VLForConditionalGeneration", "Qwen3VLForConditionalGeneration"),
    captioner=f"{_HERE}.captioner:open_captioner",
    verdicts=f"{_HERE}.verdicts:open_verdicts",
    features=f"{_HERE}.features:open_features",
    vl_trainer=f"{_HERE}.trainer:open_trainer",
    vl_unsloth=f"{_HERE}.unsloth_backend:open_trainer",
    architectures=("qwen2.5-vl/lora", "qwen3-vl/lora"),
)
