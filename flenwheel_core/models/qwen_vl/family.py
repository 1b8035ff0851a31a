"""Qwen2.5-VL: captions, and judgements about pictures."""

from flenwheel_core.models.family import Family

_HERE = "flenwheel_core.models.qwen_vl"
FAMILY = Family(
    name="Qwen2.5-VL",
    classes=("Qwen2_5_VLForConditionalGeneration",),
    captioner=f"{_HERE}.captioner:open_captioner",
    judge=f"{_HERE}.judge:open_judge",
)
