"""Publishing to a folder: whole, or as it was."""

import dataclasses
import shutil
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


def test_what_a_person_put_beside_a_publication_is_not_lost(tmp_path: Path, bundle: Bundle) -> None:
    folder = tmp_path / "mira"
    files = {**bundle.files, "base/a.json": b"{}"}
    publish_to_folder(dataclasses.replace(bundle, files=files), str(folder), note=lambda text: None)
    publish_to_folder(bundle, str(folder), note=lambda text: None)
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not published from here") as caught:
        publish_to_folder(dataclasses.replace(bundle, files={"a": b"b"}), str(folder), note=lambda text: None)
    assert "notes" in caught.value.why and (folder / "notes" / "mine.txt").read_text() == "mine"


def test_another_publication_is_not_replaced_a_newer_one_of_the_character_is(tmp_path: Path, bundle: Bundle) -> None:
    folder = tmp_path / "mira"
    publish_to_folder(bundle, str(folder), note=lambda text: None)
    before = content(folder)
    for change in ({"character": "rex", "name": "rex-v1"}, {"what": "space"}):
        with pytest.raises(InputError, match="holds another publication"):
            publish_to_folder(
                dataclasses.replace(bundle, files={"a": b"b"}, **change), str(folder), note=lambda text: None
            )
    assert content(folder) == before
    newer = dataclasses.replace(bundle, name="mira-v2", files={"a": b"b"})
    publish_to_folder(newer, str(folder), note=lambda text: None)
    assert content(folder) == {"a": b"b", RECORD: newer.record().to_bytes()}


def test_killed_between_the_two_renames_the_old_folder_stands_again(tmp_path: Path, bundle: Bundle) -> None:
    folder = tmp_path / "mira"
    publish_to_folder(bundle, str(folder), note=lambda text: None)
    whole = content(folder)
    folder.rename(tmp_path / ".mira.old-99")
    with pytest.raises(InputError, match="holds another publication"):
        publish_to_folder(dataclasses.replace(bundle, character="rex"), str(folder), note=lambda text: None)
    assert content(folder) == whole
    shutil.copytree(folder, tmp_path / ".mira.old-99")
    publish_to_folder(bundle, str(folder), note=lambda text: None)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".mira")] == []


def test_a_folder_of_others_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(InputError):
            publish_to_folder(bundle, str(place), note=lambda text: None)
    assert content(tmp_path)["thesis.txt"] == b"mine"
