"""Turns the training captions into token ids, once, on all cores."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import CLIPTokenizer, T5TokenizerFast

from flenwheel_core.nano.models.flux import TEXT_TOKENS
from tools.nano_training.processes import processes

_CHUNK = 20_000


def token_ids(tokenizer: CLIPTokenizer | T5TokenizerFast, texts: list[str]) -> NDArray[np.int16]:
    """(texts, tokens), padded as FluxPipeline pads."""
    ids = tokenizer(texts, padding="max_length", max_length=TEXT_TOKENS, truncation=True, return_tensors="np").input_ids
    return np.asarray(ids, dtype=np.int16)


def load_tokenizers(folder: Path) -> tuple[CLIPTokenizer, T5TokenizerFast]:
    """The two tokenizers of a FluxPipeline folder."""
    return CLIPTokenizer.from_pretrained(folder / "tokenizer"), T5TokenizerFast.from_pretrained(folder / "tokenizer_2")


def _chunk_ids(folder: Path, texts: list[str]) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    clip, t5 = load_tokenizers(folder)
    return token_ids(clip, texts), token_ids(t5, texts)


def tokenise(folder: Path, texts: list[str], workers: int) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """CLIP and T5 ids, each (texts, tokens), by the tokenizers in the pipeline folder."""
    chunks = [texts[i : i + _CHUNK] for i in range(0, len(texts), _CHUNK)]
    if workers < 2:
        parts = [_chunk_ids(folder, chunk) for chunk in chunks]
    else:
        with processes(workers) as pool:
            parts = list(pool.map(_chunk_ids, [folder] * len(chunks), chunks))
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
