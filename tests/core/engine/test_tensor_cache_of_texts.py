"""Texts are encoded once, by an encoder that is opened only if it must be."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from flenwheel_core.engine.tensor_cache import TensorCache


def test_an_encoder_is_opened_once_and_only_for_what_is_not_kept(tmp_path: Path) -> None:
    cache, opened, encoded = TensorCache(tmp_path), [], []

    @contextmanager
    def open_encoder() -> Iterator[float]:
        opened.append("opened")
        yield 2.0
        opened.append("closed")

    def encode(encoder: float, text: str) -> dict[str, torch.Tensor]:
        assert not torch.is_grad_enabled()
        encoded.append(text)
        return {"length": torch.tensor([encoder * len(text)])}

    def lengths(*texts: str) -> dict[str, float]:
        found = cache.of_texts(texts, lambda text: {"text": text}, open_encoder, encode)
        return {text: tensors["length"].item() for text, tensors in found.items()}

    assert lengths("a", "bb", "a") == {"a": 2.0, "bb": 4.0}
    assert (opened, encoded) == (["opened", "closed"], ["a", "bb"])
    assert lengths("bb", "ccc") == {"bb": 4.0, "ccc": 6.0} and encoded == ["a", "bb", "ccc"]
    assert lengths("ccc", "a") == {"ccc": 6.0, "a": 2.0} and len(opened) == 4

    for file in tmp_path.rglob("*.safetensors"):
        file.write_bytes(b"damaged")
    assert lengths("a") == {"a": 2.0} and encoded == ["a", "bb", "ccc", "a"]
