"""Prompts and pictures as FLUX.2 sees them, kept on disk by the digest of what they were made from."""

from collections.abc import Iterable
from typing import Any

import torch

from flenwheel_core.base.ids import Json
from flenwheel_core.documents.storages import TextFormat
from flenwheel_core.engine.placed_pictures import PlacedPicture
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.memory.card import free_memory
from flenwheel_core.models.flux2.geometry import TEXT_TOKENS, Latents, encode_pixels, grid_of, pixels_of
from flenwheel_core.models.flux2.loading import Flux2Model


def encode_prompts(
    model: Flux2Model,
    texts: Iterable[str],
    *,
    cache: TensorCache,
    tokens: int = TEXT_TOKENS,
    storage: TextFormat = "bf16",
) -> dict[str, torch.Tensor]:
    """(tokens, channels) of every distinct prompt, as the pipeline makes them: Qwen3 reads the text alone, in its chat template.

    Three of its layers stand side by side in the channels. The encoder is loaded only if something is not in the cache.
    """
    revision: Json = [model.revision(part) for part in ("text_encoder", "tokenizer")]
    kept_as = storage if model.device.type == "cuda" else "float32"

    def key(text: str) -> Json:
        return {"kind": "flux2 prompt", "text": text, "tokens": tokens, "encoder": revision, "storage": kept_as}

    def encode(pipeline: Any, text: str) -> dict[str, torch.Tensor]:
        hidden, _ = pipeline.encode_prompt(text, device=model.device, max_sequence_length=tokens)
        return {"hidden": hidden[0].cpu().contiguous()}

    found = cache.of_texts(texts, key, lambda: model.text_encoder(storage), encode)
    return {text: tensors["hidden"] for text, tensors in found.items()}


def encode_pictures(model: Flux2Model, pictures: Iterable[PlacedPicture], *, cache: TensorCache) -> list[Latents]:
    """The clean tokens of each picture, in order, on the CPU; the autoencoder is loaded only if it must be."""
    revision = model.revision("vae")
    vae = None
    result = []
    for picture in pictures:
        placement = picture.placement
        key: Json = {
            "kind": "flux2 latents",
            "image": picture.digest,
            "scaled": list(placement.scaled),
            "bucket": placement.bucket,
            "vae": revision,
            "dtype": str(model.dtype),
        }
        tensors = cache.get(key)
        if tensors is None:
            vae = vae or model.load_vae().to(model.device)
            tokens = encode_pixels(vae, pixels_of(picture.load(), placement))[0]
            tensors = cache.put(key, {"tokens": tokens.cpu().contiguous()})
        result.append(Latents(tensors["tokens"], *grid_of((placement.width, placement.height))))
    if vae is not None:
        del vae
        free_memory()
    return result
