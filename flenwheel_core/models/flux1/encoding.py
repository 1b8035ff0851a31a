"""Captions and pictures as FLUX sees them, kept on disk by the digest of what they were made from."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from flenwheel_core.base.ids import Json
from flenwheel_core.documents.storages import TextFormat
from flenwheel_core.engine.placed_pictures import PlacedPicture
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.images.buckets import Placement, fit
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.packing import pack

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


@dataclass(frozen=True)
class Caption:
    """An encoded caption: sequence (tokens, channels) of T5 and pooled (channels,) of CLIP."""

    sequence: torch.Tensor
    pooled: torch.Tensor

    def __len__(self) -> int:
        """Tokens of text that the transformer reads."""
        return len(self.sequence)


def encode_captions(
    model: FluxModel, texts: Iterable[str], *, tokens: int, cache: TensorCache, storage: TextFormat = "bf16"
) -> dict[str, Caption]:
    """Every distinct text encoded once; encoders are loaded only if something is not in the cache."""
    revision: Json = [model.revision(p) for p in ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")]

    def key(text: str) -> Json:
        return {"kind": "flux caption", "text": text, "tokens": tokens, "encoders": revision, "storage": storage}

    def encode(pipeline: Any, text: str) -> dict[str, torch.Tensor]:
        length = min(tokens, pipeline.tokenizer_2.model_max_length)
        sequence, pooled, _ = pipeline.encode_prompt(
            text, prompt_2=None, device=model.device, max_sequence_length=length
        )
        return {"sequence": sequence[0].cpu(), "pooled": pooled[0].cpu()}

    found = cache.of_texts(texts, key, lambda: model.text_encoders(storage), encode)
    return {text: Caption(tensors["sequence"], tensors["pooled"]) for text, tensors in found.items()}


def encode_pictures(model: FluxModel, pictures: Iterable[PlacedPicture], *, cache: TensorCache) -> list[torch.Tensor]:
    """The packed latents (tokens, channels) of each picture, float32, in order: the mode of the VAE's posterior."""
    facts: dict[str, Json] = {"kind": "flux latents", "vae": model.revision("vae")}

    def encode(vae: "AutoencoderKL", picture: PlacedPicture) -> dict[str, torch.Tensor]:
        return {"latents": _encode(vae, _pixels(picture.load(), picture.placement).to(model.device, vae.dtype))}

    found = cache.of_pictures(pictures, facts, lambda: model.load_vae().to(model.device), encode)
    return [tensors["latents"] for tensors in found]


def _encode(vae: "AutoencoderKL", pixels: torch.Tensor) -> torch.Tensor:
    latents = vae.encode(pixels).latent_dist.mode().float()
    latents = (latents - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor
    return pack(latents)[0].cpu()


def _pixels(image: Image.Image, placement: Placement) -> torch.Tensor:
    """(1, 3, height, width) in [-1, 1], scaled and cut as `placement` says."""
    array = np.asarray(fit(image, placement), dtype=np.float32) / 127.5 - 1
    return torch.from_numpy(array).permute(2, 0, 1)[None]
