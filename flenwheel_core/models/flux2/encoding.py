"""Prompts and pictures as FLUX.2 sees them, kept on disk by the digest of what they were made from."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch

from flenwheel_core.base.ids import Json
from flenwheel_core.documents.storages import TextFormat
from flenwheel_core.engine.placed_pictures import PlacedPicture
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.flux2.geometry import TEXT_TOKENS, Latents, encode_pixels, grid_of, pixels_of
from flenwheel_core.models.flux2.loading import Flux2Model
from flenwheel_core.models.shelf import no_room_needed

if TYPE_CHECKING:
    from diffusers import Flux2KleinPipeline


def encode_prompts(
    model: Flux2Model,
    texts: Iterable[str],
    *,
    cache: TensorCache,
    tokens: int = TEXT_TOKENS,
    storage: TextFormat = "bf16",
    ahead: Callable[[], None] = no_room_needed,
) -> dict[str, torch.Tensor]:
    """(tokens, channels) of every distinct prompt, as the pipeline makes them: Qwen3 reads the text alone, in its chat template.

    Three of its layers stand side by side in the channels. The encoder is loaded only if something is not in the cache; `ahead` is called
    before.
    """
    revision: Json = [model.revision(part) for part in ("text_encoder", "tokenizer")]
    kept_as = storage if model.device.type == "cuda" else "float32"

    def key(text: str) -> Json:
        return {"kind": "flux2 prompt", "text": text, "tokens": tokens, "encoder": revision, "storage": kept_as}

    def encode(pipeline: Any, text: str) -> dict[str, torch.Tensor]:
        hidden, _ = pipeline.encode_prompt(text, device=model.device, max_sequence_length=tokens)
        return {"hidden": hidden[0].cpu().contiguous()}

    def opened() -> "AbstractContextManager[Flux2KleinPipeline]":
        ahead()
        return model.text_encoder(storage)

    found = cache.of_texts(texts, key, opened, encode)
    return {text: tensors["hidden"] for text, tensors in found.items()}


def encode_pictures(
    model: Flux2Model,
    pictures: Iterable[PlacedPicture],
    *,
    cache: TensorCache,
    ahead: Callable[[], None] = no_room_needed,
) -> list[Latents]:
    """The clean tokens of each picture, in order, on the CPU; the autoencoder is loaded only if it must be, and `ahead` called before."""
    placed = list(pictures)
    facts: dict[str, Json] = {"kind": "flux2 latents", "vae": model.revision("vae"), "dtype": str(model.dtype)}

    def encode(vae: Any, picture: PlacedPicture) -> dict[str, torch.Tensor]:
        tokens = encode_pixels(vae, pixels_of(picture.load(), picture.placement))[0]
        return {"tokens": tokens.cpu().contiguous()}

    def load() -> Any:
        ahead()
        return model.load_vae().to(model.device)

    found = cache.of_pictures(placed, facts, load, encode)
    grids = [grid_of((picture.placement.width, picture.placement.height)) for picture in placed]
    return [Latents(tensors["tokens"], *grid) for tensors, grid in zip(found, grids, strict=True)]
