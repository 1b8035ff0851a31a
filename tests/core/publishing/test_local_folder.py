"""Publishing to a folder: whole, or as it was."""

import dataclasses
from pathlib import Path

import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.publishing.bundle import RECORD, Bundle
from flenwheel_core.publishing.local_folder import publish_to_folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_replaced_whole(tmp_path: Path, bundle: Bundle) -> None:
    folder, notes = tmp_path / "out" / "mira", []
    first = publish_to_folder(bundle, str(folder), note=notes.append)
    assert content(folder) == {**bundle.files, RECORD: bundle.record().to_bytes()}
    assert publish_to_folder(bundle, str(folder), note=notes.append) == first and "already" in notes[-1]
    (folder / "README.md").unlink()
    publish_to_folder(bundle, str(folder), note=notes.append)
    assert (folder / "README.md").exists(), "what somebody removed is there again"
    publish_to_folder(dataclasses.replace(bundle, files={"a": b"b"}), str(folder), note=notes.append)
    assert set(content(folder)) == {"a", RECORD} and [path.name for path in folder.parent.iterdir()] == ["mira"]


def test_a_folder_that_breaks_off_stays_as_it_was(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mira"
    publish_to_folder(bundle, str(folder), note=lambda text: None)
    before = content(folder)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Exception, match="full"):
        publish_to_folder(dataclasses.replace(bundle, files={"a": b"b"}), str(folder), note=lambda text: None)
    assert content(folder) == before


def test_a_folder_of_others_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(InputError):
            publish_to_folder(bundle, str(place), note=lambda text: None)
    assert content(tmp_path)["thesis.txt"] == b"mine"
