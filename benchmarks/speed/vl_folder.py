"""A Qwen2.5-VL-7B or Qwen3-VL-8B folder at full size with random weights, laid out as on the Hub.

Tokenizer and chat template are the nano model's.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.rehearsal_folders import write_random
from benchmarks.speed.vl_world import CONFIGS, model_class
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.nano.models.vlm import END, IMAGE, PAD, VIDEO, VISION_END, VISION_START

_SIDES = {"qwen2.5": (14, 3136, 12_845_056), "qwen3": (16, 65_536, 16_777_216)}
"""Pixels of a patch, and least and most pixels of a picture, as the released processors have them."""


def vl_folder(root: Path, name: str) -> Path:
    """The model of this name; written once."""
    from transformers import AutoTokenizer

    if (root / "done").exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    nano = weights_folder("vlm")
    for path in nano.iterdir():
        if path.suffix != ".safetensors" and path.name not in ("config.json", "training.json"):
            shutil.copy(path, root)
    tokenizer = AutoTokenizer.from_pretrained(nano)
    ids = {
        token: int(tokenizer.convert_tokens_to_ids(token))
        for token in (PAD, END, IMAGE, VIDEO, VISION_START, VISION_END)
    }
    config: dict[str, Any] = json.loads(json.dumps(CONFIGS[name]))
    config |= {
        "image_token_id": ids[IMAGE],
        "video_token_id": ids[VIDEO],
        "vision_start_token_id": ids[VISION_START],
        "vision_end_token_id": ids[VISION_END],
        "dtype": "bfloat16",
    }
    ends = {"bos_token_id": ids[PAD], "eos_token_id": ids[END], "pad_token_id": ids[PAD]}
    config["text_config"] |= ends
    (root / "config.json").write_text(json.dumps(config))
    (root / "generation_config.json").write_text(json.dumps(ends))
    _released_sizes(root / "processor_config.json", name)
    kind = model_class(name)
    with torch.device("meta"):
        model = kind(kind.config_class.from_dict(config))
    write_random(root, model, "model")
    (root / "done").touch()
    return root


def _released_sizes(path: Path, name: str) -> None:
    content = json.loads(path.read_text())
    kind = "qwen3" if "qwen3" in name else "qwen2.5"
    patch, least, most = _SIDES[kind]
    for table in (content.get("image_processor", {}), content.get("video_processor", {})):
        table |= {"patch_size": patch, "merge_size": 2, "size": {"shortest_edge": least, "longest_edge": most}}
        for key in ("min_pixels", "max_pixels"):
            table.pop(key, None)
    if kind == "qwen3":
        content["processor_class"] = "Qwen3VLProcessor"
        content["video_processor"]["video_processor_type"] = "Qwen3VLVideoProcessor"
    path.write_text(json.dumps(content))
