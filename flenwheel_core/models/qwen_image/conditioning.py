"""What the Qwen-Image-Edit transformer is told: prompt, pictures and places, equal to diffusers' pipelines tensor for tensor.

diffusers writes the picture areas into its code (1024 x 1024, and 384 x 384 for what the encoder of a Plus model sees). Here the area is a
parameter, so that a 768 px plan, a nano model and the trainer share this one path. Source of templates and formulas: diffusers'
QwenImageEditPipeline and QwenImageEditPlusPipeline.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler
    from transformers import ProcessorMixin, Qwen2_5_VLForConditionalGeneration

PIXELS_PER_TOKEN = 16
"""Side of the square that one transformer token stands for: 8x autoencoder, 2x2 packing."""
SIZE_STEP = 32
DROPPED_TOKENS = 64
"""The template's system turn: its hidden states are cut off."""
NO_PROMPT = " "
"""The negative prompt of true CFG, and what an empty caption is in training. The pictures stay in it."""
MODEL_AREA = 1024 * 1024
ENCODER_AREA = 384 * 384
"""What the encoder of a Plus model sees of each picture, at most."""

_SYSTEM = (
    "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, texture, objects, background), "
    "then explain how the user's text instruction should alter or modify the image. Generate a new image that meets the "
    "user's requirements while maintaining consistency with the original input where appropriate.<|im_end|>\n"
    "<|im_start|>user\n"
)
_DESCRIBE = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the "
    "objects and background:<|im_end|>\n<|im_start|>user\n"
)
DESCRIBE_TOKENS = 34
"""The base model's template, likewise."""
LONGEST_PROMPT = 1024
"""Tokens that are read of a base model's prompt."""
_PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"
_END = "<|im_end|>\n<|im_start|>assistant\n"

Size = tuple[int, int]
"""Width and height in pixels, in this order, as PIL has it."""


class Positions(StrEnum):
    """How the encoder counts the places of picture tokens."""

    THREE_D = "3d"
    """Time, row and column, as Qwen2.5-VL was made: every released editor."""
    ONE_D = "1d"
    """One after the other, like words: editors that were trained without the picture's token types."""


class Revision(StrEnum):
    """The ways of prompting, by the pipeline class of the model's folder."""

    TEXT = "QwenImagePipeline"
    """Text alone: the base model, which draws."""

    FIRST = "QwenImageEditPipeline"
    PLUS = "QwenImageEditPlusPipeline"


@dataclass(frozen=True)
class EditSizes:
    """Sizes of everything in one edit."""

    target: Size
    references: tuple[Size, ...]
    """As the autoencoder sees the pictures: source first."""
    shown: tuple[Size, ...]
    """As the encoder sees them."""

    @property
    def target_tokens(self) -> int:
        return tokens_of(self.target)

    @property
    def reference_tokens(self) -> int:
        return sum(tokens_of(size) for size in self.references)

    @property
    def shown_tokens(self) -> int:
        """Tokens of the pictures in the prompt: the encoder sees a token for 28 x 28 pixels."""
        return sum(math.ceil(width / 28) * math.ceil(height / 28) for width, height in self.shown)

    def image_shapes(self) -> list[tuple[int, int, int]]:
        """Frames, rows and columns of tokens of the target and of each reference: `img_shapes` of one picture of a batch."""
        return [(1, h // PIXELS_PER_TOKEN, w // PIXELS_PER_TOKEN) for w, h in (self.target, *self.references)]


def tokens_of(size: Size) -> int:
    """Transformer tokens of a picture."""
    return (size[0] // PIXELS_PER_TOKEN) * (size[1] // PIXELS_PER_TOKEN)


def size_for(area: int, size: Size) -> Size:
    """The size with about `area` pixels and the aspect ratio of `size`, in steps of 32 pixels."""
    ratio = size[0] / size[1]
    width = math.sqrt(area * ratio)
    steps = round(width / SIZE_STEP), round(width / ratio / SIZE_STEP)
    return max(1, steps[0]) * SIZE_STEP, max(1, steps[1]) * SIZE_STEP


def plan_sizes(pictures: Sequence[Size], revision: Revision, *, area: int = MODEL_AREA) -> EditSizes:
    """Sizes of an edit of `pictures` (source first) with about `area` pixels; the result takes the source's aspect ratio.

    At 1024 x 1024 these are the pipelines' own, but for a Plus edit of several pictures: diffusers then takes the last one's ratio.
    """
    references = tuple(size_for(area, size) for size in pictures)
    shown_area = min(area, ENCODER_AREA) if revision is Revision.PLUS else area
    shown = tuple(size_for(shown_area, size) for size in pictures)
    return EditSizes(target=references[0], references=references, shown=shown)


def prompt_text(prompt: str, pictures: int, revision: Revision) -> str:
    """The whole prompt as the encoder reads it."""
    shown = _PICTURE
    if revision is Revision.PLUS:
        shown = "".join(f"Picture {number}: {_PICTURE}" for number in range(1, pictures + 1))
    return f"{_SYSTEM}{shown}{prompt}{_END}"


def resize(image: Image.Image, size: Size) -> Image.Image:
    """The picture at another size, the way diffusers' image processor does it."""
    return image.resize(size, Image.Resampling.LANCZOS)


@torch.no_grad()
def encode_prompt(
    encoder: "Qwen2_5_VLForConditionalGeneration",
    processor: "ProcessorMixin",
    prompt: str,
    shown: Sequence[Image.Image],
    revision: Revision,
    positions: Positions = Positions.THREE_D,
) -> Tensor:
    """Hidden states (tokens, channels) of a prompt with its pictures, which have their `EditSizes.shown` sizes already."""
    inputs: Any = processor(
        text=[prompt_text(prompt, len(shown), revision)], images=list(shown), padding=True, return_tensors="pt"
    ).to(encoder.device)
    # transformers counts picture tokens in three dimensions only if it is told which tokens are pictures; without, it says nothing.
    told = {} if positions is Positions.ONE_D else {"mm_token_type_ids": inputs["mm_token_type_ids"]}
    outputs = encoder(
        **told,
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        pixel_values=inputs["pixel_values"],
        image_grid_thw=inputs["image_grid_thw"],
        output_hidden_states=True,
    )
    hidden: Tensor = outputs.hidden_states[-1][0]
    return hidden[inputs["attention_mask"][0].bool()][DROPPED_TOKENS:]


@torch.no_grad()
def encode_text(encoder: "Qwen2_5_VLForConditionalGeneration", tokenizer: Any, prompt: str, tokens: int) -> Tensor:
    """Hidden states (tokens, channels) of a base model's prompt, at most so many (QwenImagePipeline)."""
    limit = min(tokens, LONGEST_PROMPT)
    inputs: Any = tokenizer(
        whole_text(prompt), max_length=LONGEST_PROMPT + DESCRIBE_TOKENS, truncation=True, return_tensors="pt"
    ).to(encoder.device)
    outputs = encoder(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], output_hidden_states=True)
    hidden: Tensor = outputs.hidden_states[-1][0]
    return hidden[DESCRIBE_TOKENS:][:limit]


def whole_text(prompt: str) -> str:
    """A base model's prompt as its encoder reads it; the first DESCRIBE_TOKENS of it are cut off."""
    return f"{_DESCRIBE}{prompt}{_END}"


def drawn_sizes(width: int, height: int) -> EditSizes:
    """Sizes of a picture that is drawn from text alone: whole tokens, nothing to look at."""
    side = PIXELS_PER_TOKEN
    return EditSizes(target=(max(1, width // side) * side, max(1, height // side) * side), references=(), shown=())


def pixels_of(image: Image.Image, size: Size) -> Tensor:
    """(1, 3, 1, height, width) in [-1, 1]."""
    array = np.asarray(resize(image.convert("RGB"), size), dtype=np.float32) / 255.0
    return (2.0 * torch.from_numpy(array).permute(2, 0, 1) - 1.0)[None, :, None]


@torch.no_grad()
def encode_pixels(vae: "AutoencoderKLQwenImage", pixels: Tensor) -> Tensor:
    """Clean packed latents (batch, tokens, channels) of pixels (batch, 3, 1, height, width): the posterior's mode, normalised."""
    latents = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode()
    return pack((latents - _statistic(vae, "latents_mean", latents)) / _statistic(vae, "latents_std", latents))


@torch.no_grad()
def decode_latents(vae: "AutoencoderKLQwenImage", packed: Tensor, size: Size) -> Tensor:
    """Pixels (batch, 3, height, width) in [-1, 1] of packed latents (batch, tokens, channels)."""
    latents = unpack(packed, size).to(vae.device, vae.dtype)
    latents = latents * _statistic(vae, "latents_std", latents) + _statistic(vae, "latents_mean", latents)
    decoded: Tensor = vae.decode(latents, return_dict=False)[0][:, :, 0]
    return decoded


def to_picture(pixels: Tensor) -> Image.Image:
    """The picture of pixels (1, 3, height, width) in [-1, 1]."""
    array = (pixels[0].float() / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    return Image.fromarray((array * 255).round().astype(np.uint8))


def pack(latents: Tensor) -> Tensor:
    """(batch, channels, 1, rows, columns) to (batch, rows / 2 * columns / 2, channels * 4)."""
    batch, channels, _, rows, columns = latents.shape
    blocks = latents.reshape(batch, channels, rows // 2, 2, columns // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return blocks.reshape(batch, (rows // 2) * (columns // 2), channels * 4)


def unpack(packed: Tensor, size: Size) -> Tensor:
    """(batch, tokens, channels * 4) to (batch, channels, 1, rows, columns) for a picture of `size`."""
    batch, _, channels = packed.shape
    rows, columns = size[1] // PIXELS_PER_TOKEN, size[0] // PIXELS_PER_TOKEN
    blocks = packed.reshape(batch, rows, columns, channels // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return blocks.reshape(batch, channels // 4, 1, rows * 2, columns * 2)


def log_shift(scheduler: "FlowMatchEulerDiscreteScheduler", target_tokens: int) -> float:
    """The exponent mu of the dynamic shift: linear in the target's tokens, from the scheduler's own configuration."""
    config: Any = scheduler.config
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    base, top = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    slope = (top - base) / (high - low)
    return float(base + slope * (target_tokens - low))


def _statistic(vae: "AutoencoderKLQwenImage", name: str, like: Tensor) -> Tensor:
    values = torch.tensor(getattr(vae.config, name))
    return values.view(1, -1, 1, 1, 1).to(like.device, like.dtype)
