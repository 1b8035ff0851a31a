"""Prompts and pictures as FLUX.2 sees them, kept on disk by the digest of what they were made from."""

from collections.abc import Iterable
from typing import Any

import torch

from flenwheel_core.base.ids import Json
from flenwheel_core.documents.storages import TextFormat
from flenwheel_core.engine.placed_pictures import PlacedPicture
from flenwheel_core.engine.tensor_cache import TensorCache
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

    Three of its layers stand side by side in the channels. Prompts are padded to `tokens`, or to what the encoder has places for.
    The encoder is loaded only if something is not in the cache.
    """
    tokens = min(tokens, model.text_places)
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
    placed = list(pictures)
    facts: dict[str, Json] = {"kind": "flux2 latents", "vae": model.revision("vae"), "dtype": str(model.dtype)}

    def encode(vae: Any, picture: PlacedPicture) -> dict[str, torch.Tensor]:
        tokens = encode_pixels(vae, pixels_of(picture.load(), picture.placement))[0]
        return {"tokens": tokens.cpu().contiguous()}

    found = cache.of_pictures(placed, facts, lambda: model.load_vae().to(model.device), encode)
    grids = [grid_of((picture.placement.width, picture.placement.height)) for picture in placed]
    return [Latents(tensors["tokens"], *grid) for tensors, grid in zip(found, grids, strict=True)]
