"""A packed folder becomes an ordinary one, once and whole, whoever asks first."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save, save_file

from flenwheel_core.base.errors import MissingWeightsError, ResourceError
from flenwheel_core.models import unpacking
from flenwheel_core.models.packed_weights import PACKED, pack_weights
from flenwheel_core.models.unpacking import ADDED, BORROWED, DIGESTS, _read, is_packed, unpacked, with_added

ROOT = Path(__file__).resolve().parents[3]
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
    added = {"mean": np.full(2, 0.5, np.float32), "seen": np.array(3)}
    save_file(added, packed / "vae" / f"model{ADDED}")
    lent = {"vae/model.safetensors": ("vae.safetensors", vae), "tokenizer/words.json": ("words.json", b'{"a": 1}')}
    borrowed = {inside: {"from": f"lender/{name}", "sha256": sha256(data)} for inside, (name, data) in lent.items()}
    (packed / BORROWED).write_text(json.dumps(borrowed))
    plain = {"text_encoder/model.safetensors": WEIGHTS, "vae/model.safetensors": with_added(vae, added)}
    (packed / DIGESTS).write_text(json.dumps({inside: sha256(data) for inside, data in plain.items()}))
    return tmp_path / "shipped"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


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
    other = save({"embedding": np.zeros((2, 2), np.float16)})
    (shipped / "packed" / "text_encoder" / f"model{PACKED}").write_bytes(pack_weights(other))
    table = shipped / "packed" / DIGESTS
    table.write_text(json.dumps(json.loads(table.read_text()) | {"text_encoder/model.safetensors": sha256(other)}))
    _read.cache_clear()
    second = unpacked(shipped, "packed", tmp_path / "kept")
    assert second != first
    assert (second / "text_encoder" / "model.safetensors").read_bytes() == other


def test_the_format_is_part_of_the_folders_name(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = unpacked(shipped, "packed", tmp_path / "kept")
    monkeypatch.setattr(unpacking, "_FORMAT", unpacking._FORMAT + 1)
    _read.cache_clear()
    assert unpacked(shipped, "packed", tmp_path / "kept") != first


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:-1], lambda data: data[:-1] + bytes([data[-1] ^ 1])]
)
@pytest.mark.parametrize("inside", ["text_encoder/model.safetensors", "tokenizer/words.json", "vae/model.safetensors"])
def test_a_damaged_or_altered_file_is_made_again(
    shipped: Path, tmp_path: Path, inside: str, damage: Callable[[bytes], bytes]
) -> None:
    folder = unpacked(shipped, "packed", tmp_path / "kept")
    right = (folder / inside).read_bytes()
    (folder / inside).write_bytes(damage(right))
    assert unpacked(shipped, "packed", tmp_path / "kept") == folder
    assert (folder / inside).read_bytes() == right


def test_what_others_altered_before_is_made_again_too(shipped: Path, tmp_path: Path) -> None:
    """The next process remembers nothing of the files."""
    file = unpacked(shipped, "packed", tmp_path / "kept") / "text_encoder" / "model.safetensors"
    found = file.stat()
    file.write_bytes(bytes([*WEIGHTS[:-1], WEIGHTS[-1] ^ 1]))
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    code = "import sys; from pathlib import Path; from flenwheel_core.models.unpacking import unpacked; "
    code += "unpacked(Path(sys.argv[1]), 'packed', Path(sys.argv[2]))"
    subprocess.run([sys.executable, "-c", code, str(shipped), str(tmp_path / "kept")], check=True, cwd=ROOT)
    assert file.read_bytes() == WEIGHTS


def test_files_that_a_loader_would_take_instead_are_removed(shipped: Path, tmp_path: Path) -> None:
    folder = unpacked(shipped, "packed", tmp_path / "kept")
    stranger = folder / "vae" / "diffusion_pytorch_model.safetensors.index.json"
    stranger.write_text("{}")
    unpacked(shipped, "packed", tmp_path / "kept")
    assert not stranger.exists()


def test_packed_files_that_are_not_the_shipped_ones_are_refused(shipped: Path, tmp_path: Path) -> None:
    other = save({"encoder": np.zeros(3, np.float16)})
    (shipped / "lender" / f"vae{PACKED}").write_bytes(pack_weights(other))
    with pytest.raises(MissingWeightsError, match="are not the ones that were packed") as refused:
        unpacked(shipped, "packed", tmp_path / "kept")
    assert "Install FLENwheel again" in refused.value.remedy
    assert not list((tmp_path / "kept").rglob("vae/model.safetensors"))


def test_content_is_on_the_disk_before_it_takes_its_place(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: set[int] = set()
    fsync = os.fsync

    def noted(file: int) -> None:
        written.add(os.fstat(file).st_ino)
        fsync(file)

    monkeypatch.setattr(os, "fsync", noted)
    folder = unpacked(shipped, "packed", tmp_path / "kept")
    assert {(folder / name).stat().st_ino for name in files_in(folder)} <= written


def test_what_killed_processes_left_is_removed_after_a_day(shipped: Path, tmp_path: Path) -> None:
    old, new = (tmp_path / "kept" / "nano" / f".making-{age}" for age in ("old", "new"))
    for left in (old, new):
        left.mkdir(parents=True)
        (left / "model.safetensors").write_bytes(b"half")
    os.utime(old, (time.time() - 25 * 3600,) * 2)
    folder = unpacked(shipped, "packed", tmp_path / "kept")
    assert not old.exists() and new.exists()
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, new.name}


def test_files_are_made_beside_the_models_folder(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    mkdtemp = tempfile.mkdtemp

    def noted(prefix: str, dir: Path) -> str:
        made.append(dir)
        return mkdtemp(prefix=prefix, dir=dir)

    monkeypatch.setattr(tempfile, "mkdtemp", noted)
    unpacked(shipped, "packed", tmp_path / "kept")
    assert set(made) == {tmp_path / "kept" / "nano"}


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
