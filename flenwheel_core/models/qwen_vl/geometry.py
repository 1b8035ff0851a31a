"""What differs between Qwen2.5-VL and Qwen3-VL: names, sides of pictures, features, positions. One small class each."""

import itertools
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from flenwheel_core.adapters.targets import TargetNames
from flenwheel_core.base.errors import InputError, RecipeError

VISION = "model.visual"
"""The tower, with its projector inside."""
LAYERS = "model.language_model.layers"
EMBEDDINGS = "model.language_model.embed_tokens.weight"
NORM = "model.language_model.norm.weight"
HEAD = "lm_head.weight"
EXACT_PARTS = (VISION, "lm_head")
"""Parts that are never quantised, by the whole beginning of their names (transformers 5 compares from the start): the eyes with their
projector, and the output."""
TARGETS = TargetNames(
    groups={
        "attention": (f"{LAYERS}.*.self_attn.?_proj",),
        "mlp": (f"{LAYERS}.*.mlp.*_proj",),
        "modulation": (),
        "embedders": (),
    },
    blocks={},
)
"""What a recipe's groups mean here: linears of the language layers, and nothing else."""
ADAPTED = re.compile(rf"{re.escape(LAYERS)}\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)")
"""Every name that may have an adapter, as a whole. Shorter patterns also take linears of the eyes."""


@dataclass(frozen=True)
class VlGeometry(ABC):
    """A folder's model, by its own configuration."""

    model_class: ClassVar[str]
    merge: int
    """Patches along a side that become one token."""
    patch: int
    layers: int
    heads: int
    key_heads: int
    head: int
    """Channels of a head."""
    width: int
    mlp: int
    """Channels inside an MLP."""
    vocabulary: int
    eps: float
    tied: bool
    """The output is the table of embeddings."""
    theta: float
    sections: tuple[int, int, int]
    """Frequencies that turn by time, row and column."""
    picture_token: int
    levels: int
    """Features that a picture has: those in the text's place, and those that deeper layers are given."""
    config: Any
    """transformers' own."""

    norms: ClassVar[tuple[str, ...]] = ("input_layernorm", "post_attention_layernorm")
    """Of a layer, in the order that its function takes."""

    @property
    def side(self) -> int:
        """Sides of pictures are multiples of so many pixels."""
        return self.merge * self.patch

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Outputs and inputs of the linears of all language layers, by name."""
        queries, keys = self.heads * self.head, self.key_heads * self.head
        shapes = {
            "self_attn.q_proj": (queries, self.width),
            "self_attn.k_proj": (keys, self.width),
            "self_attn.v_proj": (keys, self.width),
            "self_attn.o_proj": (self.width, queries),
            "mlp.gate_proj": (self.mlp, self.width),
            "mlp.up_proj": (self.mlp, self.width),
            "mlp.down_proj": (self.width, self.mlp),
        }
        return {f"{LAYERS}.{index}.{name}": shape for index in range(self.layers) for name, shape in shapes.items()}

    @property
    def weights(self) -> int:
        """Weights of the linears of all language layers."""
        return sum(outputs * inputs for outputs, inputs in self.linears.values())

    def rows(self, grid: Tensor) -> int:
        """Tokens that a picture of (1, rows, columns) patches becomes."""
        return int(grid.prod()) // self.merge**2

    def positions(self, ids: Tensor, grids: Sequence[Tensor]) -> Tensor:
        """(3, tokens) of a text (tokens,) with its pictures' pads in it: time, row and column of each token.

        Raises InputError if pads and pictures do not fit each other.
        """
        found, place, waiting = [], 0, iter(grids)
        for is_picture, run in itertools.groupby((ids == self.picture_token).tolist()):
            length = len(list(run))
            if not is_picture:
                found.append(torch.arange(place, place + length).expand(3, -1))
                place += length
                continue
            grid = next(waiting, None)
            if grid is None or self.rows(grid) != length:
                raise InputError(
                    f"A text has {length} places for a picture of {'none' if grid is None else self.rows(grid)} tokens.",
                    why="a picture's tokens and its places in the text must be as many.",
                    remedy="Make texts with the model's own processor.",
                )
            rows, columns = int(grid[1]) // self.merge, int(grid[2]) // self.merge
            row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            still = torch.zeros(length, dtype=torch.long)
            found.append(torch.stack([still, row.flatten(), column.flatten()]) + place)
            place += max(rows, columns)
        if next(waiting, None) is not None:
            raise InputError(
                "A text has fewer places than pictures.", remedy="Make texts with the model's own processor."
            )
        return torch.cat(found, dim=1)

    def rotary(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (..., tokens, channels of a head), float32, of positions (3, ..., tokens)."""
        half = self.head // 2
        rates = 1.0 / self.theta ** (torch.arange(0, self.head, 2, dtype=torch.float32) / self.head)
        axes = torch.tensor(list(self.axes(half)))
        angles = positions[axes].movedim(0, -1).float() * rates
        both = torch.cat([angles, angles], dim=-1)
        return both.cos(), both.sin()

    @abstractmethod
    def axes(self, count: int) -> Iterator[int]:
        """Which of time (0), row (1) and column (2) turns each of so many frequencies."""

    @abstractmethod
    def tower_class(self) -> Any:
        """transformers' class of the tower with its projector."""

    def empty_tower(self) -> Any:
        """The tower without weights: its parameters take no memory, its tables are there."""
        from accelerate import init_empty_weights

        with init_empty_weights(include_buffers=False):
            return self.tower_class()._from_config(self.config.vision_config)

    @abstractmethod
    def features(self, tower: torch.nn.Module, pixels: Tensor, grid: Tensor) -> Tensor:
        """(levels, tokens, width) of one picture's patches (patches, values) on a grid (1, 3)."""


class Qwen25Vl(VlGeometry):
    """Qwen2.5-VL: one level of features, sections of frequencies side by side."""

    model_class = "Qwen2_5_VLForConditionalGeneration"

    def axes(self, count: int) -> Iterator[int]:
        for axis, length in enumerate(self.sections):
            yield from itertools.repeat(axis, length)

    def tower_class(self) -> Any:
        from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

        return Qwen2_5_VisionTransformerPretrainedModel

    def features(self, tower: torch.nn.Module, pixels: Tensor, grid: Tensor) -> Tensor:
        return _whole(tower(pixels, grid_thw=grid).pooler_output)[None]


class Qwen3Vl(VlGeometry):
    """Qwen3-VL: deeper features for the first layers, norms of q and k, frequencies interleaved."""

    model_class = "Qwen3VLForConditionalGeneration"
    norms = (*VlGeometry.norms, "self_attn.q_norm", "self_attn.k_norm")

    def axes(self, count: int) -> Iterator[int]:
        for index in range(count):
            axis = index % 3
            yield axis if axis and index < 3 * self.sections[axis] else 0

    def tower_class(self) -> Any:
        from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel

        return Qwen3VLVisionModel

    def features(self, tower: torch.nn.Module, pixels: Tensor, grid: Tensor) -> Tensor:
        seen = tower(pixels, grid_thw=grid)
        return torch.stack([_whole(level) for level in (seen.pooler_output, *seen.deepstack_features)])


GEOMETRIES: Mapping[str, type[VlGeometry]] = {kind.model_class: kind for kind in (Qwen25Vl, Qwen3Vl)}


def geometry_of(folder: Path) -> VlGeometry:
    """The model in a folder, by its configuration alone. Raises InputError for one that is not known here."""
    import transformers

    try:
        content = json.loads((folder / "config.json").read_text())
        name = (content.get("architectures") or [""])[0]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"{folder} is no model folder.", remedy="Name the folder of a Qwen2.5-VL or Qwen3-VL."
        ) from error
    if name not in GEOMETRIES:
        raise InputError(
            f"{folder} holds a {name or 'nameless model'}.",
            why=f"known are {', '.join(GEOMETRIES)}.",
            remedy="Name a Qwen2.5-VL (3B, 7B) or Qwen3-VL (2B, 4B, 8B).",
        )
    config = getattr(transformers, name).config_class.from_dict(content)
    text, vision = config.text_config, config.vision_config
    rope = text.rope_parameters
    sections = tuple(rope.get("mrope_section", (16, 24, 24) if name == Qwen25Vl.model_class else (24, 20, 20)))
    if rope.get("rope_type", "default") not in ("default", "mrope") or set(getattr(text, "layer_types", None) or ()) - {
        "full_attention"
    }:
        raise InputError(
            f"{folder} counts positions, or attends, in a way that is not known here.",
            remedy="Take the released configuration, without longer contexts and sliding windows.",
        )
    heads = int(text.num_attention_heads)
    return GEOMETRIES[name](
        merge=int(vision.spatial_merge_size),
        patch=int(vision.patch_size),
        layers=int(text.num_hidden_layers),
        heads=heads,
        key_heads=int(text.num_key_value_heads),
        head=int(getattr(text, "head_dim", None) or text.hidden_size // heads),
        width=int(text.hidden_size),
        mlp=int(text.intermediate_size),
        vocabulary=int(text.vocab_size),
        eps=float(text.rms_norm_eps),
        tied=bool(config.tie_word_embeddings),
        theta=float(rope["rope_theta"]),
        sections=(int(sections[0]), int(sections[1]), int(sections[2])),
        picture_token=int(config.image_token_id),
        levels=1 + len(getattr(vision, "deepstack_visual_indexes", ())),
        config=config,
    )


def require_language_only(names: Sequence[str]) -> None:
    """Raises RecipeError if an adapter would sit anywhere but on the language layers."""
    wrong = [name for name in names if ADAPTED.fullmatch(name) is None]
    if wrong:
        raise RecipeError(
            f"The LoRA would sit on {wrong[0]}, and {len(wrong) - 1} more like it.",
            why="only the language layers learn; the eyes and their projector stay as they are.",
            remedy="Leave train.lora.include out, or name language layers only.",
        )


def _whole(features: Tensor | Sequence[Tensor]) -> Tensor:
    """Newer versions of transformers give one tensor a picture."""
    return features if isinstance(features, Tensor) else torch.cat(list(features))
