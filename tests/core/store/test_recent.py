"""What a store held a moment ago: few questions, nothing of one's own missed, and never another content under a known name."""

import gc
import threading
import time
import weakref
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.kit.workspace import wait_for
from flenwheel_core.documents.prompts import Cell
from flenwheel_core.store import Store
from flenwheel_core.store import recent as module
from flenwheel_core.store.recent import Listing, RecentStore
from tests.kit.s3_server import options_of

pytestmark = pytest.mark.slow
Open = Callable[[], Store]


@pytest.fixture
def open_store(s3_endpoint: str, tmp_path: Path) -> Open:
    """The store as each of several machines opens it."""
    options = options_of(s3_endpoint)
    return lambda: Store(f"s3://flenwheel/{tmp_path.name}", options)


def names(store: Store) -> list[str]:
    return list(store.list_documents("reviews"))


def test_what_this_machine_writes_is_seen_at_once(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRESH_SECONDS", 1000.0)
    exact = open_store()
    recent = RecentStore(exact)
    assert names(recent) == [] and recent.get_document("reviews/a/session", Cell) is None
    exact.put_document("reviews/a/session", Cell(id="a"))
    before = recent.recent.version("documents/reviews")
    exact.put_document("reviews/b/session", Cell(id="b"))
    assert recent.recent.version("documents/reviews") != before
    assert names(recent) == ["reviews/a/session", "reviews/b/session"]
    found = recent.get_document("reviews/b/session", Cell)
    assert found == Cell(id="b") and recent.get_document("reviews/b/session", Cell) is found, "it is not read again"
    exact.delete_document("reviews/a/session")
    assert names(recent) == ["reviews/b/session"] and recent.get_document("reviews/a/session", Cell) is None
    journal = exact.journal("reviews/b/decisions", Cell)
    for id_ in ("one", "two"):
        journal.append(Cell(id=id_))
    assert [line.id for line in recent.journal("reviews/b/decisions", Cell).read()] == ["one", "two"]


def test_what_others_write_is_seen_soon_and_in_the_background(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRESH_SECONDS", 1.0)
    recent, other = RecentStore(open_store()), open_store()
    other.put_document("reviews/a/session", Cell(id="first"))
    assert names(recent) == ["reviews/a/session"]
    assert recent.get_document("reviews/a/session", Cell) == Cell(id="first")
    other.put_document("reviews/b/session", Cell(id="b"))
    assert names(recent) == ["reviews/a/session"], "it was listed a moment ago"
    wait_for(lambda: len(names(recent)) == 2, 240, lambda: "")
    other.delete_document("reviews/a/session")
    other.put_document("reviews/a/session", Cell(id="second"))
    wait_for(lambda: recent.get_document("reviews/a/session", Cell) == Cell(id="second"), 240, lambda: "")


def test_what_another_machine_created_first_is_seen_at_once(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A studio that opens what another one opened a moment ago was told that it is there, and must find it."""
    monkeypatch.setattr(module, "FRESH_SECONDS", 1000.0)
    exact, other = open_store(), open_store()
    recent = RecentStore(exact)
    assert names(recent) == []
    other.put_document("reviews/a/session", Cell(id="theirs"))
    assert not exact.put_document("reviews/a/session", Cell(id="ours"))
    assert names(recent) == ["reviews/a/session"]
    assert recent.get_document("reviews/a/session", Cell) == Cell(id="theirs")


def test_a_store_that_is_away_leaves_what_was_known(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)
    exact = open_store()
    exact.put_document("reviews/a/session", Cell(id="a"))
    recent = RecentStore(exact)
    assert names(recent) == ["reviews/a/session"]

    def away(folder: str) -> dict[str, str]:
        raise OSError("no route")

    monkeypatch.setattr(exact.files, "stamps", away)
    for _ in range(3):
        assert names(recent) == ["reviews/a/session"]
        time.sleep(0.05)


def test_folders_that_are_not_listed_are_asked_for(open_store: Open) -> None:
    exact = open_store()
    recent = RecentStore(exact)
    digest = exact.put_blob(b"picture")
    assert recent.get_blob(digest) == b"picture" and recent.has_blob(digest)
    assert recent.files.read_many([f"blobs/{digest[:2]}/{digest}"]) == [b"picture"]


def test_contents_that_were_used_longest_ago_make_room(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = open_store()
    recent = RecentStore(exact)
    for name in "abc":
        exact.put_document(f"reviews/{name}/session", Cell(id=name))
    size = len(Cell(id="a").to_bytes())
    monkeypatch.setattr(module, "MOST_BYTES", 2 * size)
    for name in "abc":
        assert recent.get_document(f"reviews/{name}/session", Cell) == Cell(id=name)
    assert sorted(recent.recent._contents) == [f"documents/reviews/{name}/session.json" for name in "bc"]
    assert recent.recent._bytes == 2 * size
    made = weakref.ref(recent.get_document("reviews/a/session", Cell) or Cell(id="none"))
    assert made() == Cell(id="a")
    assert recent.get_document("reviews/b/session", Cell) and recent.get_document("reviews/c/session", Cell)
    gc.collect()
    assert made() is None, "what was made of a content is forgotten with it"


def test_a_look_after_long_idleness_waits_for_what_is_there_now(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRESH_SECONDS", 100.0)
    exact, other = open_store(), open_store()
    recent = RecentStore(exact)
    assert names(recent) == []
    other.put_document("reviews/a/session", Cell(id="a"))
    assert names(recent) == [], "it was listed a moment ago"
    (listing,) = recent.recent._listings.values()
    listing.at -= 301.0
    assert names(recent) == ["reviews/a/session"], "however old it is otherwise"
    listed = []
    known = exact.files.stamps
    monkeypatch.setattr(exact.files, "stamps", lambda folder: listed.append(folder) or known(folder))
    (listing,) = recent.recent._listings.values()
    listing.at -= 301.0
    together = [threading.Thread(target=names, args=(recent,)) for _ in range(4)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    assert len(listed) == 1, "of several that wait, one lists"


def test_a_listing_that_takes_long_is_no_older_than_promised() -> None:
    listing = Listing({}, seconds=1000.0, at=time.monotonic() - module.OLDEST_SECONDS - 1, version=0)
    assert listing.is_too_old
    listing.at = time.monotonic() - module.OLDEST_SECONDS + 10
    assert listing.is_old and not listing.is_too_old


@pytest.mark.parametrize("stamp", ["2", None])
def test_a_write_in_the_midst_of_a_look_shifts_nothing(monkeypatch: pytest.MonkeyPatch, stamp: str | None) -> None:
    listing = Listing({"d/a/1": "1", "d/b/1": "1", "d/c/1": "1"}, seconds=0.0, at=0.0, version=0)
    path = "d/a/1" if stamp is None else "d/a/0"
    writers: list[threading.Thread] = []

    def bisect_and_write(paths: list[str], wanted: str) -> int:
        found = bisect_left(paths, wanted)
        if not writers:
            writers.append(threading.Thread(target=listing.note, args=(path, stamp)))
            writers[0].start()
            writers[0].join(0.2)
        return found

    monkeypatch.setattr(module, "bisect_left", bisect_and_write)
    assert listing.below("d/b") == ["d/b/1"]
    writers[0].join()
    assert listing.below("d/a") == ([] if stamp is None else ["d/a/0", "d/a/1"]) and listing.version == 1
    writers.clear()
    path, stamp = "d/c/1", None
    assert listing.stamped("d/c") == ("d/c/1 1",)
    writers[0].join()
    assert listing.stamped("d/c") == ()
