"""Model folders with the sizes of the released models, and nothing in their files: for plans, which look at sizes alone."""

import json
from pathlib import Path
from typing import Any

KLEIN_4B: dict[str, Any] = {
    "_class_name": "Flux2Transformer2DModel",
    "patch_size": 1,
    "in_channels": 128,
    "num_layers": 5,
    "num_single_layers": 20,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 7680,
    "guidance_embeds": False,
}
KLEIN_9B = {
    **KLEIN_4B,
    "num_layers": 8,
    "num_single_layers": 24,
    "num_attention_heads": 32,
    "joint_attention_dim": 12288,
}


def released_folder(path: Path, pipeline: str, config: dict[str, object], sizes: dict[str, int]) -> str:
    for part, size in sizes.items():
        (path / part).mkdir(parents=True)
        (path / part / "config.json").write_text(json.dumps(config if part == "transformer" else {}))
        name = "diffusion_pytorch_model" if part in ("transformer", "vae") else "model"
        header = json.dumps({"x": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
        with (path / part / f"{name}.safetensors").open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(8 + len(header) + size)  # takes no room on the disk
    index = {"_class_name": pipeline, **{part: ["diffusers", "Model"] for part in sizes}}
    (path / "model_index.json").write_text(json.dumps(index))
    return str(path)


def write_klein(path: Path, config: dict[str, Any]) -> Path:
    """FLUX.2 klein base 4B, or with another transformer."""
    sizes = {"transformer": 7_752_000_000, "text_encoder": 8_045_000_000, "vae": 168_000_000}
    released_folder(path, "Flux2KleinPipeline", config, sizes)
    return path
