"""Qwen2.5-VL and Qwen3-VL of the real classes with few, random weights, as folders that transformers opens."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from flenwheel_core.nano.models.vlm import (
    CHAT_TEMPLATE,
    END,
    IMAGE,
    PAD,
    VIDEO,
    VISION_END,
    VISION_START,
    build_tokenizer,
)

KINDS = ("qwen2.5", "qwen3")
_HEAD = 32


def save_tiny_vl(folder: Path, kind: str, *, tied: bool = False, layers: int = 3) -> Path:
    """A model folder; its random weights are large enough that pictures and adapters change what it says."""
    tokenizer = build_tokenizer(["a red cat on a blue sofa, smiling, seen from the left"] * 30)
    ids = {
        token: tokenizer.convert_tokens_to_ids(token) for token in (PAD, END, IMAGE, VIDEO, VISION_START, VISION_END)
    }
    text: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 192,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": _HEAD,
        "max_position_embeddings": 2048,
        "bos_token_id": ids[PAD],
        "eos_token_id": ids[END],
        "pad_token_id": ids[PAD],
        "tie_word_embeddings": tied,
    }
    vision: dict[str, Any] = {
        "depth": 4,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_heads": 4,
        "out_hidden_size": 128,
    }
    tokens = {
        "image_token_id": ids[IMAGE],
        "video_token_id": ids[VIDEO],
        "vision_start_token_id": ids[VISION_START],
        "vision_end_token_id": ids[VISION_END],
        "tie_word_embeddings": tied,
    }
    torch.manual_seed(0)
    model: Any
    if kind == "qwen2.5":
        text |= {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 6, 6]}}
        vision |= {"patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1, 3]}
        model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **tokens))
    else:
        text |= {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [6, 5, 5]}}
        vision |= {"patch_size": 16, "deepstack_visual_indexes": [0, 1, 2], "num_position_embeddings": 64}
        model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, **tokens))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 1.5 * parameter[0].numel() ** -0.5)
            elif "norm" not in name:
                parameter.normal_(0, 0.1)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = ids[END], ids[PAD]
    model.save_pretrained(folder)
    _processor(tokenizer, kind, int(vision["patch_size"])).save_pretrained(folder)
    return folder


def _processor(tokenizer: Any, kind: str, patch: int) -> Any:
    facts = {"patch_size": patch, "merge_size": 2, "temporal_patch_size": 2}
    size = {"shortest_edge": 4 * (2 * patch) ** 2, "longest_edge": 64 * (2 * patch) ** 2}
    processor_class, video_class = (
        (Qwen2_5_VLProcessor, Qwen2VLVideoProcessor) if kind == "qwen2.5" else (Qwen3VLProcessor, Qwen3VLVideoProcessor)
    )
    return processor_class(
        image_processor=Qwen2VLImageProcessor(**facts, size=size),
        tokenizer=tokenizer,
        video_processor=video_class(**facts),
        chat_template=CHAT_TEMPLATE,
    )


def drawn_picture(seed: int, width: int = 112, height: int = 84) -> Image.Image:
    """Blocks of random colours."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.randint(0, 256, (6, 8, 3), generator=generator, dtype=torch.uint8).numpy()
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
