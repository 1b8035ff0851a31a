"""Folders as people keep them: every file is either taken or named in one line."""

import json
from pathlib import Path

import pytest

from flenwheel_core.errors import InputError
from flenwheel_core.images.folder import find_sources


def test_pictures_with_captions_of_either_kind(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "b.JPG", "sub/c.webp", "d.heic"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a.txt").write_text("\ufeff a caption\n in lines ", "utf-8")
    (tmp_path / "metadata.jsonl").write_text(
        json.dumps({"file_name": "b.JPG", "text": "from metadata"})
        + "\n"
        + json.dumps({"file_name": "sub/c.webp", "caption": "below"})
    )
    found = find_sources(tmp_path)
    assert [(file.name, file.caption) for file in found.files] == [
        ("a.png", "a caption in lines"),
        ("b.JPG", "from metadata"),
        ("d.heic", None),
        ("sub/c.webp", "below"),
    ]
    assert found.notes == ()


def test_what_is_not_used_is_named(tmp_path: Path) -> None:
    outside = tmp_path / "secret.png"
    outside.write_bytes(b"x")
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "film.mp4").write_bytes(b"x")
    (folder / ".hidden.png").write_bytes(b"x")
    (folder / "link.png").symlink_to(outside)
    (folder / "ok.png").write_bytes(b"x")
    (folder / "ok.txt").write_bytes(b"\xff\xfe\xfd")
    (folder / "metadata.jsonl").write_text('no json\n{"file_name": "gone.png", "text": "t"}\n{"text": "nameless"}\n')
    found = find_sources(folder)
    assert [file.name for file in found.files] == ["ok.png"]
    notes = " ".join(found.notes)
    for part in ("film.mp4", "link.png", "ok.txt", "line 1", "gone.png", "line 3"):
        assert part in notes


def test_a_single_picture_is_a_folder_of_one(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(b"x")
    (tmp_path / "one.png.txt").write_text("kohya style")
    assert [(file.name, file.caption) for file in find_sources(tmp_path / "one.png").files] == [
        ("one.png", "kohya style")
    ]


def test_no_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        find_sources(tmp_path / "nothing")
