"""Texts and pictures are encoded once, by an encoder that is opened only if it must be."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image

from flenwheel_core.engine.placed_pictures import PlacedPicture
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.images.buckets import place


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


def test_pictures_are_encoded_once_for_each_place_and_what_earlier_versions_kept_is_used(tmp_path: Path) -> None:
    cache, loaded, encoded = TensorCache(tmp_path), [], []
    facts = {"kind": "some latents", "vae": "its digest"}

    def load() -> float:
        loaded.append("loaded")
        return 2.0

    def encode(encoder: float, picture: PlacedPicture) -> dict[str, torch.Tensor]:
        assert not torch.is_grad_enabled()
        encoded.append(picture.digest)
        return {"width": torch.tensor([encoder * picture.placement.width])}

    def widths(*pictures: PlacedPicture) -> list[float]:
        return [tensors["width"].item() for tensors in cache.of_pictures(pictures, facts, load, encode)]

    def placed(digest: str, width: int) -> PlacedPicture:
        return PlacedPicture(digest, place((width, 8), [(width, 8)]), lambda: Image.new("RGB", (width, 8)))

    assert widths(placed("a", 8), placed("b", 16), placed("a", 8)) == [16.0, 32.0, 16.0]
    assert widths(placed("a", 8)) == [16.0] and widths(placed("a", 16)) == [32.0]
    assert (loaded, encoded) == (["loaded"] * 2, ["a", "b", "a"])

    kept = {"kind": "some latents", "image": "c", "scaled": [8, 8], "bucket": "8x8", "vae": "its digest"}
    cache.put(kept, {"width": torch.tensor([1.0])})
    assert widths(placed("c", 8)) == [1.0] and len(loaded) == 2
