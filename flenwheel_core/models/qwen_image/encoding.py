"""Prompts and pictures as the editor sees them, kept on disk by the digest of everything they were made from.

An editing prompt's embedding depends on its pictures, so their pixels are part of its key.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from PIL import Image
from torch import Tensor

from flenwheel_core.base.ids import Json
from flenwheel_core.engine.placed_pictures import picture_digest
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.memory.card import free_memory
from flenwheel_core.models.qwen_image.conditioning import (
    EditSizes,
    Size,
    encode_pixels,
    encode_prompt,
    pixels_of,
    plan_sizes,
    prompt_text,
    resize,
)
from flenwheel_core.models.qwen_image.loading import QwenEditModel


@dataclass(frozen=True)
class Picture:
    """A picture that is loaded when its pixels are needed: many lessons do not fit the memory at once."""

    size: tuple[int, int]
    digest: str
    load: Callable[[], Image.Image]

    @classmethod
    def of(cls, load: Callable[[], Image.Image]) -> Self:
        """The picture that `load` gives; it is looked at once, for its size and digest."""
        image = load()
        return cls(image.size, picture_digest(image), load)


@dataclass(frozen=True)
class Instruction:
    """A prompt with the pictures it speaks of, source first."""

    prompt: str
    pictures: tuple[Picture, ...]
    area: int
    """Pixels of the result, about."""

    def sizes(self, model: QwenEditModel) -> EditSizes:
        return plan_sizes([picture.size for picture in self.pictures], model.revision, area=self.area)

    def key(self, model: QwenEditModel, encoder: str) -> Json:
        """Everything its embedding depends on."""
        sizes = self.sizes(model)
        return {
            "kind": "qwen edit prompt",
            "text": prompt_text(self.prompt, len(self.pictures), model.revision),
            "pictures": [picture.digest for picture in self.pictures],
            "shown": [list(size) for size in sizes.shown],
            "positions": model.positions.value,
            "encoder": encoder,
            "storage": model.encoder_storage if model.device.type == "cuda" else "float32",
        }


def encode_instructions(model: QwenEditModel, instructions: Sequence[Instruction], cache: TensorCache) -> list[Tensor]:
    """Hidden states (tokens, channels) of each instruction, on the CPU; the encoder is loaded once, and only if it must be."""
    encoder_digest = "-".join(model.part_digest(part) for part in ("text_encoder", "processor"))
    keys = [instruction.key(model, encoder_digest) for instruction in instructions]
    found = [cache.get(key) for key in keys]
    if any(tensors is None for tensors in found):
        cache.ahead()
        with model.phase("prompts"), model.open_encoder() as (encoder, processor):
            for index, instruction in enumerate(instructions):
                found[index] = found[index] or cache.get(keys[index])
                if found[index] is None:
                    shown = [
                        resize(picture.load(), size)
                        for picture, size in zip(instruction.pictures, instruction.sizes(model).shown, strict=True)
                    ]
                    hidden = encode_prompt(
                        encoder, processor, instruction.prompt, shown, model.revision, model.positions
                    )
                    found[index] = cache.put(keys[index], {"hidden": hidden.to("cpu").contiguous()})
            del encoder, processor
    return [tensors["hidden"] for tensors in found if tensors is not None]


def encode_pictures(model: QwenEditModel, pictures: Sequence[tuple[Picture, Size]], cache: TensorCache) -> list[Tensor]:
    """Clean packed latents (tokens, channels) of pictures at given sizes, float32, on the CPU."""
    vae_digest = model.part_digest("vae")
    vae = None
    result = []
    with model.phase("pictures"):
        for picture, size in pictures:
            key: Json = {
                "kind": "qwen latents",
                "picture": picture.digest,
                "size": list(size),
                "vae": vae_digest,
                "dtype": str(model.dtype),
            }
            tensors = cache.get(key)
            if tensors is None:
                if vae is None:
                    cache.ahead()
                    vae = model.load_vae()
                with torch.no_grad():
                    packed = encode_pixels(vae, pixels_of(picture.load(), size))
                tensors = cache.put(key, {"latents": packed[0].float().cpu().contiguous()})
            result.append(tensors["latents"])
        del vae
        free_memory()
    return result
