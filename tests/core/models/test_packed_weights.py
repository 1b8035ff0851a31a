"""Packed weights come back byte for byte, in fewer bytes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from flenwheel_core.models.packed_weights import PACKED, pack_weights, packed_name, plain_name, unpack_weights


def packed(tensors: dict[str, torch.Tensor], folder: Path) -> tuple[Path, Path]:
    given, made = folder / "given.safetensors", folder / f"given{PACKED}"
    save_file(tensors, given, metadata={"format": "pt"})
    made.write_bytes(pack_weights(given.read_bytes()))
    return given, made


@pytest.mark.parametrize(("kind", "share"), [(torch.bfloat16, 0.72), (torch.float16, 0.9)])
def test_weights_come_back_byte_for_byte_in_fewer_bytes(tmp_path: Path, kind: torch.dtype, share: float) -> None:
    torch.manual_seed(0)
    weights = {"a": torch.randn(300, 200), "b": torch.zeros(3), "c": -torch.rand(5) * 1e-4, "d": torch.tensor(0.5)}
    given, made = packed({name: weight.to(kind) for name, weight in weights.items()}, tmp_path)
    assert unpack_weights(made) == given.read_bytes()
    assert made.stat().st_size < share * given.stat().st_size


@pytest.mark.parametrize(
    "tensors",
    [
        {"numbers": torch.arange(5), "kind": torch.randn(7)},
        {"alike": torch.ones(4000, dtype=torch.float16)},
        {"noise": torch.randint(0, 256, (4000,), dtype=torch.uint8)},
        {},
    ],
)
def test_what_is_no_weight_comes_back_too(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    given, made = packed(tensors, tmp_path)
    assert unpack_weights(made) == given.read_bytes()


def test_a_packed_file_is_a_safetensors_file(tmp_path: Path) -> None:
    _, made = packed({"a": torch.randn(40, 40).bfloat16()}, tmp_path)
    assert all(row.dtype == torch.uint8 for row in load_file(made).values())


def test_names_tell_packed_files_from_plain_ones() -> None:
    assert packed_name("vae/model.safetensors") == "vae/model.packed.safetensors"
    for name in ("vae/model.safetensors", "config.json"):
        assert plain_name(name) == name
    assert plain_name(packed_name("model.safetensors")) == "model.safetensors"
