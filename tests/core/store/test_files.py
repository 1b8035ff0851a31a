"""What several machines do to one file at once, and how many questions reading takes."""

import os
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from flenwheel_core.base.errors import RecipeError, ServerError
from flenwheel_core.documents.prompts import Cell
from flenwheel_core.store import Store
from flenwheel_core.store import files as module
from flenwheel_core.store.files import Files
from tests.kit.s3_server import BUCKET, options_of, serve_s3


@pytest.mark.slow
def test_a_write_that_met_another_one_is_tried_again() -> None:
    with serve_s3(iter([True, True, False, True])) as endpoint:
        store = Files(f"s3://{BUCKET}/store", options_of(endpoint))
        assert store.create("documents/a.json", b"first", look_first=False)
        assert not store.create("documents/a.json", b"second", look_first=False), "it met another, and then found it"
        assert store.read("documents/a.json") == b"first"


@pytest.mark.slow
def test_a_store_that_stays_busy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TRIES", 2)
    with serve_s3(repeat(True)) as endpoint:
        store = Files(f"s3://{BUCKET}/store", options_of(endpoint))
        with pytest.raises(ServerError, match="another writer"):
            store.create("documents/a.json", b"first", look_first=False)


def test_what_others_created_first_is_told_to_who_watches(store: Store) -> None:
    heard: list[tuple[str, bool]] = []
    other = Files(store.files.url, options_of(str(_endpoint(store))) if store.files.local is None else None)
    assert other.create("documents/a.json", b"theirs")
    store.files.watchers.append(lambda path, there: heard.append((path, there)))
    for look_first in (True, False):
        assert not store.files.create("documents/a.json", b"ours", look_first=look_first)
    assert heard == [("documents/a.json", True)] * 2


def _endpoint(store: Store) -> object:
    return store.files._fs.client_kwargs["endpoint_url"]


@pytest.mark.slow
def test_large_blobs_come_in_parts_and_small_documents_in_one_question(
    s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(f"s3://{BUCKET}/{tmp_path.name}", options_of(s3_endpoint))
    data = bytes(range(256)) * 40
    for path in ("blobs/ab/abc", "documents/a.json"):
        files.write(path, data)
    monkeypatch.setattr(files._fs, "default_block_size", 4096)
    asked: list[str] = []
    call = files._fs._call_s3

    async def counted(method: str, *given: Any, **more: Any) -> Any:
        asked.append(f"{method} {more.get('Range', '')}".strip())
        return await call(method, *given, **more)

    monkeypatch.setattr(files._fs, "_call_s3", counted)
    assert files.read("documents/a.json") == data and asked == ["get_object"]
    asked.clear()
    assert files.read("blobs/ab/abc") == data
    assert len([one for one in asked if one.startswith("get_object bytes=")]) == 3


def test_a_users_own_choice_about_listings_is_refused_in_words() -> None:
    with pytest.raises(RecipeError, match=r"use_listings_cache.*\n.*other machines"):
        Files("s3://bucket/store", {"use_listings_cache": "true"})


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="tells files by their descriptors, on Linux")
def test_what_was_written_is_on_the_disk_before_anybody_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content before its name, the name before the call comes back. Test processes do not wait for the disk otherwise."""
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    store = Store((tmp_path / "store").as_uri())
    for put in (store.files.write, store.files.create):
        synced.clear()
        put(f"documents/{put.__name__}.json", b"content")
        content, name = synced
        assert content.name.startswith(".tmp-") and content.parent == name == tmp_path / "store" / "documents"
    synced.clear()
    store.journal("cells", Cell).append(Cell(id="a"))
    assert tmp_path / "store" / "journals" / "cells.jsonl" in synced
