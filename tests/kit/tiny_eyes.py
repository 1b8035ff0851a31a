"""Tiny models of the real classes that look at pictures: a CLIP, and CSD in the layout of its authors."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BitImageProcessor, CLIPConfig, CLIPModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModel

from flenwheel_core.identity.style_descriptors import FILE, STYLE_LAYER

SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
VISION = {**SMALL, "image_size": 64, "patch_size": 16}
WIDTH, LAYERS = 128, 2


def saved(model: torch.nn.Module, folder: Path) -> Path:
    model.save_pretrained(folder)
    size = {"height": 64, "width": 64}
    BitImageProcessor(size={"shortest_edge": 64}, crop_size=size).save_pretrained(folder)
    return folder


def clip_tokenizer(folder: Path) -> None:
    """Letters as words: enough for a text side."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocab = {
        token: index
        for index, token in enumerate(
            [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
        )
    }
    CLIPTokenizer(vocab=vocab, merges=[]).save_pretrained(folder)


def tiny_clip(folder: Path) -> Path:
    """A CLIP with both sides."""
    torch.manual_seed(1)
    text = {**SMALL, "vocab_size": 54, "max_position_embeddings": 16, "eos_token_id": 53, "bos_token_id": 52}
    config = CLIPConfig(text_config={**text, "pad_token_id": 53}, vision_config=VISION, projection_dim=16)
    saved(CLIPModel(config), folder)
    clip_tokenizer(folder)
    return folder


def tower(side: int = 336) -> CLIPVisionModel:
    torch.manual_seed(1)
    config = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=WIDTH // 64,
        image_size=side,
        patch_size=14,
        hidden_act="quick_gelu",
    )
    return CLIPVisionModel(config).eval()


def tiny_csd(folder: Path, model: CLIPVisionModel, style: torch.Tensor, prefix: str = "") -> Path:
    """The model as CSD's authors name its weights."""
    given = {name.removeprefix("vision_model."): value for name, value in model.state_dict().items()}
    found = {
        "class_embedding": given["embeddings.class_embedding"],
        "positional_embedding": given["embeddings.position_embedding.weight"],
        "conv1.weight": given["embeddings.patch_embedding.weight"],
    }
    for ours, theirs in (("ln_pre", "pre_layrnorm"), ("ln_post", "post_layernorm")):
        found |= {f"{ours}.{part}": given[f"{theirs}.{part}"] for part in ("weight", "bias")}
    for layer in range(LAYERS):
        ours, theirs = f"transformer.resblocks.{layer}.", f"encoder.layers.{layer}."
        for part in ("weight", "bias"):
            three = [given[f"{theirs}self_attn.{one}_proj.{part}"] for one in "qkv"]
            found[f"{ours}attn.in_proj_{part}"] = torch.cat(three)
            names = {"attn.out_proj": "self_attn.out_proj", "ln_1": "layer_norm1", "ln_2": "layer_norm2",
                     "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}  # fmt: skip
            found |= {f"{ours}{own}.{part}": given[f"{theirs}{other}.{part}"] for own, other in names.items()}
    tensors = {f"{prefix}backbone.{name}": value.clone() for name, value in found.items()}
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_file({**tensors, f"{prefix}{STYLE_LAYER}": style}, folder / FILE)
    return folder
