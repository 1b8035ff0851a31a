"""Prompts and pictures as Z-Image sees them, kept on disk by the digest of what they were made from."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flenwheel_core.base.ids import Json
from flenwheel_core.documents.storages import TextFormat
from flenwheel_core.engine.placed_pictures import PlacedPicture
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.images.buckets import fit
from flenwheel_core.models.z_image.geometry import TEXT_TOKENS, pack
from flenwheel_core.models.z_image.loading import ZImageModel


def encode_prompts(
    model: ZImageModel,
    texts: Iterable[str],
    *,
    cache: TensorCache,
    tokens: int = TEXT_TOKENS,
    storage: TextFormat = "bf16",
) -> dict[str, Tensor]:
    """(tokens, channels) of every distinct prompt, as long as the prompt is; the encoder is loaded only if it must be."""
    revision: Json = [model.revision(part) for part in ("text_encoder", "tokenizer")]
    kept_as = storage if model.device.type == "cuda" else "float32"

    def key(text: str) -> Json:
        return {"kind": "z-image prompt", "text": text, "tokens": tokens, "encoder": revision, "storage": kept_as}

    def encode(pipeline: Any, text: str) -> dict[str, torch.Tensor]:
        (hidden,), _ = pipeline.encode_prompt(
            text, device=model.device, do_classifier_free_guidance=False, max_sequence_length=tokens
        )
        return {"hidden": hidden.cpu().contiguous()}

    found = cache.of_texts(texts, key, lambda: model.text_encoder(storage), encode)
    return {text: tensors["hidden"] for text, tensors in found.items()}


def encode_pictures(model: ZImageModel, pictures: Iterable[PlacedPicture], *, cache: TensorCache) -> list[Tensor]:
    """The packed latents (tokens, channels) of each picture, float32, in order: the mode of the VAE's posterior."""
    facts: dict[str, Json] = {"kind": "z-image latents", "vae": model.revision("vae"), "dtype": str(model.dtype)}

    def encode(vae: Any, picture: PlacedPicture) -> dict[str, Tensor]:
        array = np.asarray(fit(picture.load(), picture.placement), dtype=np.float32) / 127.5 - 1
        pixels = torch.from_numpy(array).permute(2, 0, 1)[None].to(model.device, vae.dtype)
        latents = vae.encode(pixels).latent_dist.mode().float()
        latents = (latents - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor
        return {"latents": pack(latents)[0].cpu().contiguous()}

    found = cache.of_pictures(pictures, facts, lambda: model.load_vae().to(model.device), encode)
    return [tensors["latents"] for tensors in found]
