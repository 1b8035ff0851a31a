"""The two small vision models: the embedder, whose 64 numbers say who it is, and the reader, whose numbers say what is shown.

Both are DINOv2 classes with 8-pixel patches (1.1 M parameters), in ordinary folders. The embedder's "classes" are the dimensions of
its embedding; the reader's are named `label=value`, a softmax for each label.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import Dinov2Config, Dinov2ForImageClassification, ViTImageProcessor

PICTURE_PX = 128
PATCH_PX = 8
WIDTH = 128
LAYERS = 6
HEADS = 4
MLP_RATIO = 3
EMBEDDING = 64


def build_embedder() -> Dinov2ForImageClassification:
    """Random weights; its logits (batch, 64) are the embedding, not yet of unit length."""
    return Dinov2ForImageClassification(_config({index: f"dimension {index}" for index in range(EMBEDDING)}))


def build_reader(labels: Mapping[str, tuple[str, ...]]) -> Dinov2ForImageClassification:
    """Random weights; its logits hold the choices of one label after the other."""
    names = [f"{label}={value}" for label, values in labels.items() for value in values]
    return Dinov2ForImageClassification(_config(dict(enumerate(names))))


def _config(names: dict[int, str]) -> Dinov2Config:
    return Dinov2Config(
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        mlp_ratio=MLP_RATIO,
        image_size=PICTURE_PX,
        patch_size=PATCH_PX,
        layerscale_value=0.5,
        id2label=names,
        label2id={name: index for index, name in names.items()},
    )


def save_vision(model: Dinov2ForImageClassification, folder: Path) -> None:
    """Writes an ordinary folder in fp16, with an image processor that scales pictures to 128x128 and to [-1, 1]."""
    model.to("cpu", torch.float16).save_pretrained(folder)
    size = {"height": PICTURE_PX, "width": PICTURE_PX}
    ViTImageProcessor(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(folder)
