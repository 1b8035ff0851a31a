"""Journals: order, crashes in the middle of a line, several writers at once."""

import multiprocessing
from pathlib import Path

import pytest

from flenwheel_core.base.errors import CorruptManifestError
from flenwheel_core.documents.prompts import Cell
from flenwheel_core.store import Store


def test_lines_come_back_in_order(store: Store) -> None:
    journal = store.journal("cells", Cell)
    assert list(journal.read()) == []
    journal.append(Cell(id="a"))
    journal.extend([Cell(id="b"), Cell(id="c")])
    assert [line.id for line in store.journal("cells", Cell).read()] == ["a", "b", "c"]


def _path(store: Store) -> Path:
    assert store.files.local is not None
    return store.files.local / "journals" / "cells.jsonl"


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_torn_last_line_is_left_out_and_the_next_stands_alone(local_store: Store, cut: int) -> None:
    journal = local_store.journal("cells", Cell)
    journal.extend([Cell(id="a"), Cell(id="b")])
    path = _path(local_store)
    path.write_bytes(path.read_bytes()[:-cut])
    assert [line.id for line in journal.read()] == ["a"]
    journal.append(Cell(id="c"))
    assert [line.id for line in journal.read()] == ["a", "c"]


def test_damage_in_the_middle_names_the_line(local_store: Store) -> None:
    journal = local_store.journal("cells", Cell)
    journal.extend([Cell(id="a"), Cell(id="b"), Cell(id="c")])
    lines = _path(local_store).read_bytes().split(b"\n")
    lines[1] = b"\x00garbage"
    _path(local_store).write_bytes(b"\n".join(lines))
    with pytest.raises(CorruptManifestError, match="Line 2"):
        list(journal.read())


def _append_many(url: str, name: str) -> None:
    journal = Store(url).journal("cells", Cell)
    for number in range(40):
        journal.append(Cell(id=f"{name}{number}"))


def test_two_processes_never_mix_their_lines(local_store: Store) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(local_store.files.url, name)) for name in "xy"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    ids = [line.id for line in local_store.journal("cells", Cell).read()]
    assert sorted(ids) == sorted(f"{name}{number}" for name in "xy" for number in range(40))
    assert [name for name in ids if name.startswith("x")] == [f"x{number}" for number in range(40)]
