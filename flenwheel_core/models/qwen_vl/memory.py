"""How much of a card a question about pictures takes: counted from the model's own shapes, not from its name."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from flenwheel_core.base.errors import ResourceError
from flenwheel_core.memory.card import GIB
from flenwheel_core.memory.levels import plan_at_level

MOST_PIXELS = (2_359_296, 589_824)
"""What the model sees of a picture, at most: 1536 x 1536, and 768 x 768 where memory ran out before."""
WORDS = 192
"""Tokens of a question and its answer, at most."""
LIBRARIES_GIB = 0.1
"""cuBLAS's workspace, and what lies unused in the allocator's blocks (on an H200 0.1 GiB more was reserved than is counted here)."""
_NF4_BYTES = 0.5 + 4 / 64
"""A weight's half byte, and its share of the scale of 64."""


@dataclass(frozen=True)
class ModelSizes:
    """A vision-language model, as far as memory goes."""

    weights_gib: float
    """As they are on disk: bfloat16 in every released model."""
    nf4_gib: float
    """With the linears of the language model in NF4, and everything else exact."""
    vision: dict[str, int]
    text: dict[str, int]

    def working_gib(self, pixels: int, pictures: int) -> float:
        """Beside the weights, for one question about so many pictures of that size.

        At its peak the model either turns queries and keys of all patches by their positions, in float32; or is in the last MLP of the
        language model, when the keys and values of all layers are there.
        """
        width, hidden = self.vision["hidden_size"], self.text["hidden_size"]
        patches = pictures * pixels / self.vision["patch_size"] ** 2
        tokens = patches / self.vision["spatial_merge_size"] ** 2 + WORDS
        pixel_values = self.vision["in_channels"] * self.vision["temporal_patch_size"] * self.vision["patch_size"] ** 2
        # Per patch: the picture again, in bfloat16; bfloat16 of the residual (1), its norm (1), q, k, v (3); float32 of q, k, q turned (3)
        # and of k half turned (3); sines and cosines of one head.
        seeing = 2 * pixel_values + 2 * 5 * width + 4 * 6 * width + 4 * 2 * width // self.vision["num_heads"]
        # Per token: bfloat16 of the residual, its norm, the MLP's input, the embedding with the picture and the picture's part of it (5),
        # of the MLP's gate, value and product (3), and the cache.
        head = self.text.get("head_dim", hidden // self.text["num_attention_heads"])
        cache = 2 * self.text["num_hidden_layers"] * self.text["num_key_value_heads"] * head
        reading = 2 * (5 * hidden + 3 * self.text["intermediate_size"] + cache)
        peak = max(patches * seeing + tokens * 2 * hidden, tokens * reading)
        return (4 * patches * pixel_values + peak) / GIB + LIBRARIES_GIB

    def need_gib(self, *, quantised: bool, pixels: int, pictures: int) -> float:
        """The peak; a quantised linear is unpacked for as long as it is used."""
        unpacked = 2 * self.text["hidden_size"] * self.text["intermediate_size"] / GIB
        stored = self.nf4_gib + unpacked if quantised else self.weights_gib
        return stored + self.working_gib(pixels, pictures)


@dataclass(frozen=True)
class AskingPlan:
    """How the weights are stored, and how large pictures are shown."""

    quantised: bool
    most_pixels: int
    predicted_gib: float


def sizes_of(folder: Path) -> ModelSizes:
    """Of the model in a folder, from its configuration and the headers of its files."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    bytes_, linear = 0, 0
    for file in sorted(folder.glob("*.safetensors")):
        bytes_ += file.stat().st_size
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - no mapping
                shape = opened.get_slice(name).get_shape()
                if ".layers." in name and len(shape) == 2:
                    linear += shape[0] * shape[1]
    nf4 = bytes_ - linear * (2 - _NF4_BYTES)
    text = config.get("text_config") or config  # configurations of transformers 4 hold the language model's at the top
    vision = {**_VISION, **_numbers(config["vision_config"])}
    return ModelSizes(bytes_ / GIB, nf4 / GIB, vision, _numbers(text))


_VISION = {"in_channels": 3, "temporal_patch_size": 2, "spatial_merge_size": 2}
"""What released configurations leave out."""


def _numbers(config: dict[str, Any]) -> dict[str, int]:
    return {name: value for name, value in config.items() if type(value) is int}


def plan_asking(sizes: ModelSizes, usable_gib: float, memory_level: int = 0, *, pictures: int = 1) -> AskingPlan:
    """How a model is opened for questions about so many pictures: the best way that fits, or a tighter one if memory ran out before.

    Raises ResourceError if none fits, or there is no tighter one.
    """

    def plans() -> Iterator[AskingPlan]:
        for quantised in (False, True):
            for pixels in MOST_PIXELS:
                need = sizes.need_gib(quantised=quantised, pixels=pixels, pictures=pictures)
                if need <= usable_gib:
                    yield AskingPlan(quantised, pixels, need)

    chosen = plan_at_level(plans(), lambda plan: plan.predicted_gib, memory_level)
    if chosen is not None:
        return chosen
    least = sizes.need_gib(quantised=True, pixels=MOST_PIXELS[-1], pictures=pictures)
    raise ResourceError(
        f"The vision-language model needs about {least:.0f} GiB, and {usable_gib:.0f} GiB may be used.",
        why="even in 4 bits it does not fit the card.",
        remedy="Name a smaller one as the recipe's captioner, or leave the captioner out and give captions.",
    )
