"""Packed weights come back as they were, or as near as their whole numbers allow; a folder is unpacked once and whole."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save_file
from safetensors.torch import save_file as save_torch

from flenwheel_core.base.errors import ResourceError
from flenwheel_core.models.packed_weights import (
    HALVES,
    ROWS,
    halves_of,
    pack_halves,
    pack_rows,
    rows_of,
    safetensors_bytes,
)
from flenwheel_core.models.unpacking import ADDED, BORROWED, unpacked

CHANCE = np.random.default_rng(0)


def tensors() -> dict[str, np.ndarray]:
    """A matrix whose rows differ in size, a kernel, a vector, a zero matrix and a number."""
    sizes = np.array([[1.0], [0.01], [30.0]])
    return {
        "b.matrix": (CHANCE.standard_normal((3, 400)) * sizes).astype(np.float32),
        "a.kernel": CHANCE.standard_normal((2, 3, 5, 5)).astype(np.float32),
        "vector": CHANCE.standard_normal(7).astype(np.float32),
        "nothing": np.zeros((4, 4), np.float32),
        "number": np.float32(0.5).reshape(()),
    }


@pytest.mark.parametrize(("most", "error"), [(127, 0.01), (31, 0.04), (7, 0.15)])
def test_rows_come_back_in_their_own_scale(tmp_path: Path, most: int, error: float) -> None:
    made = tensors()
    pack_rows(made, tmp_path / ROWS, most=most)
    found = rows_of(tmp_path / ROWS)
    assert list(found) == list(made)
    for name, tensor in made.items():
        assert found[name].shape == tensor.shape and found[name].dtype == np.float16
    for given, kept in zip(made["b.matrix"], found["b.matrix"], strict=True):
        assert np.linalg.norm(given - kept) < error * np.linalg.norm(given)
    assert np.allclose(found["vector"], made["vector"], atol=2e-3) and not found["nothing"].any()


def test_fewer_whole_numbers_are_fewer_bytes(tmp_path: Path) -> None:
    matrix = {"matrix": CHANCE.standard_normal((64, 512)).astype(np.float32)}
    sizes = []
    for most in (127, 31, 7):
        pack_rows(matrix, tmp_path / ROWS, most=most)
        sizes.append((tmp_path / ROWS).stat().st_size / matrix["matrix"].size)
    assert sizes[0] < 1.0 and sizes[1] < 0.75 and sizes[2] < 0.5


def test_halves_come_back_byte_for_byte_in_fewer_bytes(tmp_path: Path) -> None:
    given = tmp_path / "given.safetensors"
    weights = {
        "a": torch.randn(300, 200).bfloat16(),
        "b": torch.zeros(3, dtype=torch.bfloat16),
        "c": -torch.rand(5).bfloat16(),
    }
    save_torch(weights, given, metadata={"format": "pt"})
    pack_halves(given.read_bytes(), tmp_path / HALVES)
    assert halves_of(tmp_path / HALVES) == given.read_bytes()
    assert (tmp_path / HALVES).stat().st_size < 0.75 * given.stat().st_size


def test_a_written_file_is_read_by_the_library() -> None:
    made = {"b": np.arange(6, dtype=np.float16).reshape(2, 3), "a": np.ones((), np.int64), "c": np.zeros(3, np.float32)}
    data = safetensors_bytes(made)
    found = load(data)
    assert {name: (tensor.dtype, tensor.tolist()) for name, tensor in found.items()} == {
        name: (tensor.dtype, tensor.tolist()) for name, tensor in made.items()
    }
    assert int.from_bytes(data[:8], "little") % 8 == 0


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A model that lends a file, and a packed one that borrows it and has weights of its own."""
    lender, packed = tmp_path / "shipped" / "lender", tmp_path / "shipped" / "packed"
    for part in ("transformer", "text_encoder", "vae"):
        (packed / part).mkdir(parents=True)
        (packed / part / "config.json").write_text("{}")
    lender.mkdir()
    save_file({"encoder": np.ones(3, np.float16)}, lender / "vae.safetensors")
    pack_rows(tensors(), packed / "transformer" / ROWS, most=31)
    weights = safetensors_bytes({"embedding": np.ones((2, 2), np.float16)})
    pack_halves(weights, packed / "text_encoder" / HALVES)
    save_file({"mean": np.full(2, 0.5, np.float32)}, packed / "vae" / ADDED)
    (packed / BORROWED).write_text(json.dumps({"vae/diffusion_pytorch_model.safetensors": "lender/vae.safetensors"}))
    return tmp_path / "shipped"


def test_a_packed_folder_becomes_an_ordinary_one(shipped: Path, tmp_path: Path) -> None:
    folder = unpacked(shipped, "packed", tmp_path / "kept")
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "transformer/config.json",
        "transformer/diffusion_pytorch_model.safetensors",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    }
    found = load((folder / "vae" / "diffusion_pytorch_model.safetensors").read_bytes())
    assert found["encoder"].tolist() == [1, 1, 1] and found["mean"].tolist() == [0.5, 0.5]
    assert load((folder / "text_encoder" / "model.safetensors").read_bytes())["embedding"].tolist() == [[1, 1], [1, 1]]
    assert [path.name for path in (tmp_path / "kept" / "nano").iterdir()] == [folder.name]


def test_other_weights_are_another_folder(shipped: Path, tmp_path: Path) -> None:
    first = unpacked(shipped, "packed", tmp_path / "kept")
    unpacked.cache_clear()
    assert unpacked(shipped, "packed", tmp_path / "kept") == first
    save_file({"encoder": np.zeros(3, np.float16)}, shipped / "lender" / "vae.safetensors")
    unpacked.cache_clear()
    second = unpacked(shipped, "packed", tmp_path / "kept")
    assert second != first
    assert load((second / "vae" / "diffusion_pytorch_model.safetensors").read_bytes())["encoder"].tolist() == [0, 0, 0]


def test_many_who_unpack_at_once_get_one_whole_folder(shipped: Path, tmp_path: Path) -> None:
    found: list[Path] = []
    plain = unpacked.__wrapped__
    threads = [
        threading.Thread(target=lambda: found.append(plain(shipped, "packed", tmp_path / "kept"))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and len(set(found)) == 1
    assert [path.name for path in (tmp_path / "kept" / "nano").iterdir()] == [found[0].name]


def test_a_place_that_cannot_be_written_is_said_with_what_to_do(shipped: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ResourceError, match="cannot be unpacked into") as refused:
        unpacked(shipped, "packed", tmp_path / "file")
    assert "FLENWHEEL_MODELS" in refused.value.remedy
