"""Prompts of the base model, text alone, kept on disk by the digest of what they were made from."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from flenwheel_core.base.ids import Json
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.qwen_image.conditioning import LONGEST_PROMPT, encode_text
from flenwheel_core.models.qwen_image.loading import QwenEditModel


def encode_prompts(
    model: QwenEditModel, texts: Iterable[str], cache: TensorCache, *, tokens: int = LONGEST_PROMPT
) -> dict[str, Tensor]:
    """(tokens, channels) of every distinct prompt, as long as the prompt is; the encoder is loaded only if it must be."""
    encoder_digest = "-".join(model.part_digest(part) for part in ("text_encoder", "tokenizer"))
    storage = model.encoder_storage if model.device.type == "cuda" else "float32"

    def key(text: str) -> Json:
        return {"kind": "qwen prompt", "text": text, "tokens": tokens, "encoder": encoder_digest, "storage": storage}

    @contextmanager
    def opened() -> Iterator[tuple[Any, Any]]:
        with model.phase("prompts"), model.open_text_encoder() as parts:
            yield parts

    def encode(parts: tuple[Any, Any], text: str) -> dict[str, Tensor]:
        return {"hidden": encode_text(*parts, text, tokens).to("cpu").contiguous()}

    found = cache.of_texts(texts, key, opened, encode)
    return {text: tensors["hidden"] for text, tensors in found.items()}
