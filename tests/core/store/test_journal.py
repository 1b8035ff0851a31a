"""Journals: order, crashes in the middle of a line, several writers at once."""

import multiprocessing
from pathlib import Path

import pytest

from flenwheel_core.base.errors import CorruptManifestError, SealedJournalError
from flenwheel_core.documents.prompts import Cell
from flenwheel_core.store import Store
from flenwheel_core.store.journal import PROBES
from tests.kit.s3_server import options_of


def test_lines_come_back_in_order(store: Store) -> None:
    journal = store.journal("cells", Cell)
    assert list(journal.read()) == []
    journal.append(Cell(id="a"))
    journal.extend([Cell(id="b"), Cell(id="c")])
    assert [line.id for line in store.journal("cells", Cell).read()] == ["a", "b", "c"]


def _path(store: Store) -> Path:
    assert store.files.local is not None
    return store.files.local / "journals" / "cells.jsonl"


def _remote(s3_endpoint: str, place: str) -> Store:
    options = options_of(s3_endpoint)
    return Store(f"s3://flenwheel/{place}", options)


@pytest.mark.slow
def test_writers_on_several_machines_each_get_a_number(s3_endpoint: str, tmp_path: Path) -> None:
    """Each writer believes that its number is free; conditional writes say which one is right."""
    writers = [_remote(s3_endpoint, tmp_path.name).journal("cells", Cell) for _ in range(3)]
    for writer in writers:
        writer.append(Cell(id="first"))  # from here each one remembers what it believes to be the next number
    for number in range(4):
        for name, writer in zip("xyz", writers, strict=True):
            writer.append(Cell(id=f"{name}{number}"))
    ids = [line.id for line in _remote(s3_endpoint, tmp_path.name).journal("cells", Cell).read()]
    assert ids[-12:] == [f"{name}{number}" for number in range(4) for name in "xyz"]


@pytest.mark.slow
def test_lines_written_in_one_go_are_one_object_and_read_beside_those_of_one_line(
    s3_endpoint: str, tmp_path: Path
) -> None:
    store = _remote(s3_endpoint, tmp_path.name)
    journal, reader = store.journal("cells", Cell), store.journal("cells", Cell)
    journal.append(Cell(id="a"))
    assert [line.id for line in reader.read_after(0)[0]] == ["a"]
    journal.extend([Cell(id="b"), Cell(id="c")])
    lines, position = reader.read_after(1)
    assert [line.id for line in lines] == ["b", "c"] and len(list(store.files.list("journals/cells"))) == 2
    assert reader.seal(position), "nothing came in between"
    assert [line.id for line in reader.read()] == ["a", "b", "c"]
    with pytest.raises(SealedJournalError):
        journal.extend([Cell(id="d"), Cell(id="e")])
    assert [line.id for line in store.journal("cells", Cell).read()] == ["a", "b", "c"]


@pytest.mark.slow
def test_a_line_whose_answer_was_lost_is_not_written_twice(
    s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client sends it again, and the store says that there is something already."""
    store = _remote(s3_endpoint, tmp_path.name)
    create = store.files.create

    def sent_twice(path: str, data: bytes, **more: bool) -> bool:
        create(path, data, **more)
        return create(path, data, **more)

    monkeypatch.setattr(store.files, "create", sent_twice)
    journal = store.journal("cells", Cell)
    journal.append(Cell(id="a"))
    journal.append(Cell(id="b"))
    assert [line.id for line in journal.read()] == ["a", "b"]


@pytest.mark.slow
def test_nothing_is_written_after_the_seal(s3_endpoint: str, tmp_path: Path) -> None:
    one, other = (_remote(s3_endpoint, tmp_path.name).journal("cells", Cell) for _ in range(2))
    one.append(Cell(id="a"))
    position = one.read_after(0)[1]
    other.append(Cell(id="b"))
    assert not one.seal(position), "it has not seen b"
    lines, position = one.read_after(0)
    assert [line.id for line in lines] == ["a", "b"] and one.seal(position)
    with pytest.raises(SealedJournalError, match="takes no more lines"):
        other.append(Cell(id="c"))
    assert [line.id for line in other.read()] == ["a", "b"] and other.seal(position + 1), "once is enough"
    lines, position = other.read_after(0)
    assert (len(lines), position) == (2, 3)


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
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(local_store.files.url, name)) for name in "xy"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    ids = [line.id for line in local_store.journal("cells", Cell).read()]
    assert sorted(ids) == sorted(f"{name}{number}" for name in "xy" for number in range(40))
    assert [name for name in ids if name.startswith("x")] == [f"x{number}" for number in range(40)]


@pytest.mark.slow
def test_what_another_machine_wrote_since_a_listing_is_read(s3_endpoint: str, tmp_path: Path) -> None:
    """The client of the object store remembers what it listed; a read that asked that memory first found nothing there."""
    import boto3

    store = _remote(s3_endpoint, tmp_path.name)
    journal = store.journal("cells", Cell)
    journal.append(Cell(id="own"))
    assert len(list(journal.read())) == 1, "it is listed"
    client = boto3.client(
        "s3", endpoint_url=s3_endpoint, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
    )
    theirs = Cell(id="theirs").to_bytes()
    client.put_object(Bucket="flenwheel", Key=f"{tmp_path.name}/journals/cells/000000001.json", Body=theirs)
    assert store.files.read("journals/cells/000000001.json") == theirs
    lines, position = journal.read_after(1)
    assert ([line.id for line in lines], position) == (["theirs"], 2)
    journal.append(Cell(id="third"))
    assert [line.id for line in journal.read()] == ["own", "theirs", "third"]


@pytest.mark.slow
def test_many_new_lines_are_read_too(s3_endpoint: str, tmp_path: Path) -> None:
    store = _remote(s3_endpoint, tmp_path.name)
    reader, writer = (store.journal("cells", Cell) for _ in range(2))
    assert reader.read_after(0) == ([], 0)
    position = 0
    for count in (1, PROBES - 1, PROBES, PROBES + 5, 0):
        for number in range(count):
            writer.append(Cell(id=f"{count}-{number}"))
        lines, position = reader.read_after(position)
        assert [line.id for line in lines] == [f"{count}-{number}" for number in range(count)]
    assert position == 3 * PROBES + 5


@pytest.mark.slow
def test_a_journal_that_became_shorter_is_noticed(s3_endpoint: str, tmp_path: Path) -> None:
    """Whoever went on from where it was would leave out what is written in the place of the lines that are gone."""
    store = _remote(s3_endpoint, tmp_path.name)
    journal = store.journal("cells", Cell)
    for id_ in "abc":
        journal.append(Cell(id=id_))
    lines, position = journal.read_after(0)
    assert len(lines) == position == 3 and journal.read_after(position) == ([], 3)
    for number in (1, 2):
        store.files.delete(f"journals/cells/{number:09d}.json")
    with pytest.raises(CorruptManifestError, match="became shorter"):
        journal.read_after(position)
    assert journal.read_after(0) == ([Cell(id="a")], 1)
    journal.append(Cell(id="d"))
    assert [line.id for line in store.journal("cells", Cell).read()] == ["a", "d"]
    assert len(list(store.files.list("journals/cells"))) == 2, "it stands where the others were"
    assert [line.id for line in journal.read_after(1)[0]] == ["d"]
