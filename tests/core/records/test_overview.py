"""Lists a page at a time: the same in a folder and on an object store, whoever wrote."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flenwheel_core.documents.decisions import Decision, Verdict
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.library.characters import Library
from flenwheel_core.records import overview as module
from flenwheel_core.records.overview import Overview
from flenwheel_core.store import Store
from tests.kit.gate_world import CHARACTER, open_gate, settings_in
from tests.kit.stores import s3_store_at, store_by_param


@pytest.fixture
def s3_store(s3_endpoint: str, tmp_path: Path) -> Store:
    return s3_store_at(s3_endpoint, tmp_path)


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return store_by_param(request, tmp_path)


def further(store: Store, first: ReviewSession, turn: int) -> str:
    gate = f"mira-t{turn}-gate-a-r1"
    Library(store).open_turn("mira", f"run-{turn}", "0" * 64)
    return Reviews(store).open(first.model_copy(update={"gate": gate, "turn": turn, "flow_run": f"run-{turn}"})).gate


def good(gate: str, image: str) -> Decision:
    return Decision(id=f"{gate}-1", at=datetime.now(UTC), author="ana", image=image, verdict=Verdict.GOOD)


def test_gates_stand_in_order_with_their_counts_and_pages_cut_them(store: Store, tmp_path: Path) -> None:
    overview = Overview(store, settings_in(tmp_path))
    first = open_gate(store, 3, side=16)
    gates = [first.gate, *(further(store, first, turn) for turn in (2, 3))]
    assert first.pictures == 3, "written down when the gate opens"
    overview.warm()
    reviews = Reviews(store)
    image = store.get_images(first.images)[0].digest
    reviews.decide(gates[1], good(gates[1], image))
    reviews.close(gates[2], "approve", "leave_out", override_minimum=True, reviewer="ana")
    page = overview.gates(limit=2)
    assert [line.session.gate for line in page.shown] == [gates[1], gates[0]] and page.total == 3
    assert [line.state.counts(line.total)["undecided"] for line in page.shown] == [2, 3]
    (last,) = overview.gates(offset=2, limit=2).shown
    assert last.session.gate == gates[2] and last.closed is not None and page.waiting == 2
    assert overview.gates("nobody").total == 0 and overview.gates("mira").total == 3


def test_a_gate_of_an_earlier_version_is_counted_too(store: Store, tmp_path: Path) -> None:
    first = open_gate(store, 3, side=16)
    old = first.model_copy(update={"gate": "mira-t9-gate-a-r1", "turn": 9, "pictures": None})
    store.put_document(f"reviews/{old.gate}/session", old)
    line = Overview(store, settings_in(tmp_path)).gates(limit=1).shown[0]
    assert line.session.pictures is None and line.total == 3


def test_turns_and_characters_come_a_page_at_a_time(store: Store, tmp_path: Path) -> None:
    first = open_gate(store, 2, side=16)
    overview = Overview(store, settings_in(tmp_path))
    gates = [further(store, first, turn) for turn in (2, 3)]
    page = overview.turns(offset=1, limit=1)
    assert (page.total, page.shown[0].flow_run) == (2, "run-2"), "the newest first"
    newest = overview.turns(limit=1).shown[0]
    assert newest.flow_run == "run-3" and [gate.gate for gate in newest.gates] == [gates[0]], (
        "by its number, which is 2"
    )
    again = first.model_copy(update={"gate": "mira-t2-gate-a-r2", "turn": 2, "round": 2, "flow_run": "run-3"})
    Reviews(store).open(again)
    for view in (overview.turns(limit=1).shown[0], overview.turn("mira", 2)):
        assert [gate.gate for gate in view.gates] == [gates[0], again.gate], "a gate that opened since is among them"
    assert overview.characters(limit=1).shown == ["mira"]
    other = CHARACTER.model_copy(update={"name": "nora"})
    Library(store).create_character(other)
    assert overview.characters(offset=1, limit=1).shown == ["nora"]
    built = [overview.of_character("nora", "times", lambda: datetime.now(UTC)) for _ in range(2)]
    assert (built[0] == built[1]) is (store.files.local is None)
    Library(store).change_character(other.model_copy(update={"class_word": "cat"}))
    assert overview.of_character("nora", "times", lambda: datetime.now(UTC)) != built[1]


@pytest.mark.slow
def test_of_several_that_need_a_list_at_once_one_builds_it(tmp_path: Path, s3_store: Store) -> None:
    open_gate(s3_store, 2, side=16)
    overview = Overview(s3_store, settings_in(tmp_path))
    began, release, built = threading.Event(), threading.Event(), []

    def build() -> int:
        built.append(1)
        began.set()
        release.wait(240)
        return len(built)

    found: list[int] = []
    together = [
        threading.Thread(target=lambda: found.append(overview.of_character("mira", "line", build))) for _ in range(4)
    ]
    together[0].start()
    assert began.wait(240)
    for thread in together[1:]:
        thread.start()
    time.sleep(0.2)
    release.set()
    for thread in together:
        thread.join()
    assert found == [1, 1, 1, 1]


@pytest.mark.slow
def test_what_callers_make_up_is_not_kept_for_ever(
    tmp_path: Path, s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    open_gate(s3_store, 2, side=16)
    overview = Overview(s3_store, settings_in(tmp_path))
    for number in range(8):
        overview.gates(f"made-up-{number}")
        overview.turns(offset=number, limit=1)
    assert len(overview._kept) == 3


def test_a_gate_that_was_answered_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store((tmp_path / "store").as_uri())
    first = open_gate(store, 2, side=16)
    other = further(store, first, 2)
    overview = Overview(store, settings_in(tmp_path))
    Reviews(store).close(other, "approve", "leave_out", override_minimum=True, reviewer="ana")
    assert overview.gates().waiting == 1
    read: list[str] = []
    known = store.files.read
    monkeypatch.setattr(store.files, "read", lambda path: read.append(path) or known(path))
    for _ in range(3):
        page = overview.gates(limit=20)
        assert (page.waiting, page.total) == (1, 2) and page.shown[1].closed is not None
    assert not [path for path in read if other in path]
    assert len([path for path in read if path.endswith("outcome.json")]) <= 6, "of the open gate, for list and line"
