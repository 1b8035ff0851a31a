"""The digest of a model folder follows every byte of its weights, and no byte is read twice."""

import hashlib
import logging
import os
import threading
from pathlib import Path

import pytest

from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.models import digests
from flenwheel_core.models.digests import file_digests, folder_digest

OLD_NS = 1_700_000_000 * 10**9


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(16 << 20))
    os.utime(folder / "model.safetensors", ns=(OLD_NS, OLD_NS))
    return folder


def change(path: Path, place: int) -> None:
    """Another byte, and nothing else: same size, same time."""
    facts = path.stat()
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\x01")
    os.utime(path, ns=(facts.st_mtime_ns, facts.st_mtime_ns))


@pytest.mark.parametrize("place", [0, 5 << 20, (16 << 20) - 1])
def test_every_byte_of_the_weights_counts(model: Path, place: int) -> None:
    before = folder_digest(model)
    change(model / "model.safetensors", place)
    assert folder_digest(model) != before


def test_files_beside_the_model_do_not_count(model: Path) -> None:
    before = folder_digest(model)
    (model / "single-file-copy.safetensors").write_bytes(b"copy")
    (model / "README.md").write_text("hello")
    assert folder_digest(model) == before
    (model / "tokenizer.json").write_text("{}")
    assert folder_digest(model) != before


def test_a_file_is_hashed_once(model: Path, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    before = folder_digest(model, memory)
    change(model / "model.safetensors", 5)  # behind the memory's back: nobody reads the file again
    assert folder_digest(model, memory) == before
    os.utime(model / "model.safetensors", ns=(OLD_NS + 1, OLD_NS + 1))
    assert folder_digest(model, memory) != before


def test_a_file_put_in_the_place_of_another_is_read(model: Path, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    before = folder_digest(model, memory)
    other = tmp_path / "other"
    other.write_bytes(b"\x01" * (16 << 20))
    os.utime(other, ns=(OLD_NS, OLD_NS))
    other.replace(model / "model.safetensors")
    assert folder_digest(model, memory) != before


def test_a_file_that_changed_just_now_is_not_remembered(model: Path, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    (model / "model.safetensors").touch()
    folder_digest(model, memory)
    assert not memory.exists()


def test_a_torn_memory_is_read_over(model: Path, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    before = folder_digest(model, memory)
    for file in memory.rglob("*"):
        if file.is_file():
            file.write_text("torn")
    assert folder_digest(model, memory) == before


def test_several_processes_may_hash_at_once(model: Path, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(folder_digest(model, memory))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1 and [p.name for p in memory.rglob(".*")] == []


def test_digests_come_in_the_order_of_the_files(tmp_path: Path) -> None:
    paths = [tmp_path / str(index) for index in range(6)]
    for index, path in enumerate(paths):
        path.write_bytes(bytes([index]) * ((2 << 20) if index % 2 else 10))
        os.utime(path, ns=(OLD_NS, OLD_NS))
    expected = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    memory = tmp_path / "memory"
    assert file_digests(paths, None) == file_digests(paths[:3], memory) + file_digests(paths[3:], memory) == expected
    assert file_digests(paths, memory) == expected


def test_long_hashing_says_how_far_it_is(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(digests, "_SAY_EVERY_SECONDS", 0.0)
    with caplog.at_level(logging.INFO):
        folder_digest(model)
    assert "GiB" in caplog.text


def test_nano_keeps_the_digest_that_stored_requests_name() -> None:
    from flenwheel_core.models.embedded import weights_folder

    files = sorted(
        path for path in weights_folder("flux").rglob("*") if path.suffix in (".safetensors", ".json", ".txt")
    )
    lines = [
        f"{path.relative_to(weights_folder('flux'))} {hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        for path in files
    ]
    assert folder_digest(weights_folder("flux")) == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_an_empty_tensor_file_is_a_model_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(tensor_bytes({}))
    assert len(folder_digest(tmp_path)) == 64


def test_two_that_ask_at_once_read_a_file_once(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training hashes ahead in a thread of its own, and asks for the digest before that has ended."""
    read: list[Path] = []
    both = threading.Event()

    def counted(path: Path, memory: Path | None, meter: object) -> str:
        read.append(path)
        if read.count(path) > 1:
            both.set()
        if path.suffix == ".safetensors":
            both.wait(0.5)  # long enough for the other one to begin reading, if nothing keeps it from that
        return real(path, memory, meter)  # type: ignore[arg-type]

    real = digests._read
    monkeypatch.setattr(digests, "_read", counted)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(folder_digest(model, tmp_path / "digests"))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    large = [path for path in read if path.suffix == ".safetensors"]
    assert len(large) == 1 and len(set(found)) == 1 and len(found) == 2
