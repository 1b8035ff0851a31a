"""Odd things in a folder: each is one line, and the files beside it are taken."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.images.entries import is_file, list_entries, read_entry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "pictures"
    place.mkdir()
    (place / "good.png").write_bytes(b"x")
    return place


def listed(folder: Path) -> tuple[list[str], str]:
    entries = list_entries(folder)
    return [file.name for file in entries.files], "\n".join(entries.notes)


def test_links_pipes_and_sockets_are_one_line_each(folder: Path) -> None:
    (folder / "gone.png").symlink_to("nothing.png")
    (folder / "round.png").symlink_to("round.png")
    (folder / "inner.png").symlink_to("good.png")
    (folder / "elsewhere").mkdir()
    (folder / "again").symlink_to("elsewhere")
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.png"))
        names, notes = listed(folder)
    assert names == ["good.png", "inner.png"]
    for line in (
        "gone.png: left out, it is a link to nothing.",
        "round.png: left out, it is a link to nothing.",
        "again: left out, it is a link to a folder, which is not followed.",
        "pipe.png: left out, it is a pipe, not a file.",
        "socket.png: left out, it is a socket, not a file.",
    ):
        assert line in notes
    assert len(notes.splitlines()) == 5


def test_names_that_are_no_utf8_are_taken_in_letters_that_can_be_written(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png")).write_bytes(b"x")
    names, notes = listed(folder)
    assert names == ["caf\N{REPLACEMENT CHARACTER}.png", "good.png"] and notes == ""
    assert [name.encode() for name in names]


def test_names_are_shown_as_they_are_with_their_folders(folder: Path) -> None:
    (folder / "sub [red]").mkdir()
    (folder / "sub [red]" / "a:smile:.png").symlink_to("nothing")
    _, notes = listed(folder)
    assert notes.startswith("sub [red]/a:smile:.png: left out")


def test_hidden_pictures_are_named_and_leftovers_of_other_systems_are_not(folder: Path) -> None:
    (folder / ".mira.png").write_bytes(b"x")
    (folder / "._good.png").write_bytes(b"\x00\x05\x16\x07" + bytes(4092))
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._good.png").write_bytes(b"\x00\x05\x16\x07")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_bytes(b"x")
    (folder / ".backup").mkdir()
    (folder / ".backup" / "old.jpg").write_bytes(b"x")
    names, notes = listed(folder)
    assert names == ["good.png"]
    assert [line.split(":")[0] for line in notes.splitlines()] == [".backup", ".mira.png"]


def test_a_folder_in_a_folder_in_a_folder_has_no_end_to_fear(folder: Path) -> None:
    here = folder
    for _ in range(1200):
        here = here / "d"
        here.mkdir()
    found = listed(folder)
    # Python's own removal of folders, which cleans up after the tests, recurses.
    subprocess.run(["rm", "-r", str(folder / "d")], check=True)
    assert found == (["good.png"], "")


def test_reading_never_waits_and_never_reads_too_much(folder: Path) -> None:
    assert read_entry(folder / "good.png") == b"x"
    os.mkfifo(folder / "pipe.png")
    with (folder / "large.png").open("wb") as large:
        large.truncate(2**40)
    for path, said in (
        (folder / "pipe.png", "pipe.png is not a file"),
        (folder, "pictures cannot be read"),
        (folder / "large.png", "large.png is too large"),
        (folder / "none.png", "none.png cannot be read"),
        (Path("/dev/zero"), "zero is not a file"),
        (Path("/proc/self/mem"), "mem cannot be read"),
        (Path("/proc/self/environ"), "environ is too large"),
        (Path("a\0b.png"), "cannot be read"),
    ):
        with pytest.raises(InputError, match=said):
            read_entry(path, maximum_bytes=4)


def test_what_is_no_file_is_no_file_without_an_error(folder: Path) -> None:
    (folder / "round.png").symlink_to("round.png")
    assert is_file(folder / "good.png")
    assert not any(is_file(path) for path in (folder, folder / "round.png", folder / "none", Path("a\0b")))


@pytest.mark.parametrize("place", ["none", "good.png", "a\0b"])
def test_no_folder_is_a_clear_error(folder: Path, place: str) -> None:
    with pytest.raises(InputError, match="folder"):
        list_entries(folder / place)
