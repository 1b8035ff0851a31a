"""A packed folder becomes an ordinary one, once and whole, whoever asks first."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save, save_file

from flenwheel_core.base.errors import ResourceError
from flenwheel_core.models.packed_weights import PACKED, pack_weights
from flenwheel_core.models.unpacking import ADDED, BORROWED, _read, is_packed, unpacked

WEIGHTS = save({"embedding": np.arange(4, dtype=np.float16).reshape(2, 2)}, metadata={"format": "pt"})


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A model that lends two files, and a packed one that borrows them and has weights of its own."""
    lender, packed = tmp_path / "shipped" / "lender", tmp_path / "shipped" / "packed"
    for part in ("text_encoder", "vae"):
        (packed / part).mkdir(parents=True)
        (packed / part / "config.json").write_text("{}")
    lender.mkdir()
    vae = save({"encoder": np.ones(3, np.float16)})
    (lender / f"vae{PACKED}").write_bytes(pack_weights(vae))
    (lender / "words.json").write_text('{"a": 1}')
    (packed / "text_encoder" / f"model{PACKED}").write_bytes(pack_weights(WEIGHTS))
    save_file({"mean": np.full(2, 0.5, np.float32), "seen": np.array(3)}, packed / "vae" / f"model{ADDED}")
    borrowed = {"vae/model.safetensors": "lender/vae.safetensors", "tokenizer/words.json": "lender/words.json"}
    (packed / BORROWED).write_text(json.dumps(borrowed))
    return tmp_path / "shipped"


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_packed_folder_becomes_an_ordinary_one(shipped: Path, tmp_path: Path) -> None:
    folder = unpacked(shipped, "packed", tmp_path / "kept")
    configurations = {"text_encoder/config.json", "vae/config.json", "tokenizer/words.json"}
    assert files_in(folder) == {*configurations, "text_encoder/model.safetensors", "vae/model.safetensors"}
    assert (folder / "text_encoder" / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "tokenizer" / "words.json").read_text() == '{"a": 1}'
    found = load((folder / "vae" / "model.safetensors").read_bytes())
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        "encoder": [1, 1, 1],
        "mean": [0.5, 0.5],
        "seen": 3,
    }


def test_folders_that_need_no_unpacking_are_told_apart(shipped: Path) -> None:
    assert is_packed(shipped / "packed") and is_packed(shipped / "lender")
    assert not is_packed(shipped / "packed" / "vae")


def test_other_weights_are_another_folder(shipped: Path, tmp_path: Path) -> None:
    first = unpacked(shipped, "packed", tmp_path / "kept")
    _read.cache_clear()
    assert unpacked(shipped, "packed", tmp_path / "kept") == first
    other = save({"encoder": np.zeros(3, np.float16)})
    (shipped / "lender" / f"vae{PACKED}").write_bytes(pack_weights(other))
    _read.cache_clear()
    second = unpacked(shipped, "packed", tmp_path / "kept")
    assert second != first
    assert load((second / "vae" / "model.safetensors").read_bytes())["encoder"].tolist() == [0, 0, 0]


def test_many_who_unpack_at_once_get_one_whole_folder(shipped: Path, tmp_path: Path) -> None:
    found: list[set[str]] = []

    def ask() -> None:
        found.append(files_in(unpacked(shipped, "packed", tmp_path / "kept")))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = files_in(unpacked(shipped, "packed", tmp_path / "kept"))
    assert len(found) == 6 and all(files >= whole for files in found)
    assert not [name for name in whole if ".making" in name]
    (folder,) = (tmp_path / "kept" / "nano").iterdir()
    assert (folder / "text_encoder" / "model.safetensors").read_bytes() == WEIGHTS


def test_a_file_that_got_lost_is_made_again(shipped: Path, tmp_path: Path) -> None:
    folder = unpacked(shipped, "packed", tmp_path / "kept")
    lost, kept = folder / "text_encoder" / "model.safetensors", folder / "vae" / "model.safetensors"
    lost.unlink()
    before = kept.stat().st_mtime_ns
    assert unpacked(shipped, "packed", tmp_path / "kept") == folder
    assert lost.read_bytes() == WEIGHTS and kept.stat().st_mtime_ns == before


def test_a_place_that_cannot_be_written_is_said_with_what_to_do(shipped: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ResourceError, match="cannot be unpacked into") as refused:
        unpacked(shipped, "packed", tmp_path / "file")
    assert "FLENWHEEL_MODELS" in refused.value.remedy
