"""LoRAs of FLUX share names and shapes with the editor's: they are told apart before anything loads."""

import json
from pathlib import Path

import pytest
import torch

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.base.errors import InputError
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.models.qwen_image.lora_host import read_editor_loras

WIDTH = 32
CONFIG = {
    "_class_name": "QwenImageTransformer2DModel",
    "patch_size": 2,
    "in_channels": 64,
    "out_channels": 16,
    "num_layers": 21,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 24,
    "axes_dims_rope": [4, 6, 6],
}
FLUX = {"modelspec.architecture": "flux-1-dev/lora", "ss_base_model_version": "flux1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("editor")
    (place / "transformer").mkdir()
    (place / "transformer" / "config.json").write_text(json.dumps(CONFIG))
    return place


def attention(stem: str, blocks: range) -> dict[str, torch.Tensor]:
    names = [f"{stem}.{block}.attn.to_q" for block in blocks]
    return {
        f"transformer.{name}.lora_{half}.weight": torch.ones(shape)
        for name in names
        for half, shape in (("A", (2, WIDTH)), ("B", (WIDTH, 2)))
    }


def read(folder: Path, tmp_path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> int:
    path = tmp_path / "lora.safetensors"
    path.write_bytes(tensor_bytes(tensors, metadata))
    return len(read_editor_loras([LoraFile(path, 1.0)], folder)[0].modules)


def test_its_own_are_worn(folder: Path, tmp_path: Path) -> None:
    assert read(folder, tmp_path, attention("transformer_blocks", range(21))) == 21
    assert read(folder, tmp_path, attention("transformer_blocks", range(3, 7))) == 4
    assert read_editor_loras([], folder) == ()


@pytest.mark.parametrize(
    ("tensors", "metadata", "said"),
    [
        (
            attention("transformer_blocks", range(19)) | attention("single_transformer_blocks", range(2)),
            FLUX,
            "for FLUX.1",
        ),
        (attention("single_transformer_blocks", range(38)), None, "single_transformer_blocks"),
        (attention("transformer_blocks", range(19)), FLUX, "for FLUX.1"),
        (attention("transformer_blocks", range(19)), None, "19 double blocks of FLUX"),
        (dict(list(attention("transformer_blocks", range(5)).items())[:-1]), None, "is missing"),
        (attention("transformer_blocks", range(58, 61)), None, "3 of its 3 modules are not in this model"),
    ],
)
def test_those_of_another_model_are_refused(
    folder: Path, tmp_path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        read(folder, tmp_path, tensors, metadata)
