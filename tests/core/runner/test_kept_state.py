"""A training's state in the store: whole or not at all, in the background, and never the reason why a training ends."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.kit.workspace import wait_for
from flenwheel_core.base.errors import InterruptedStageError, ServerError
from flenwheel_core.base.progress import Progress, ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.runner.kept_state import KEEP, StateKeeper, StoredState, keeper_of
from flenwheel_core.runner.stage import KeptFiles
from flenwheel_core.store import Store
from flenwheel_core.store.garbage import find_garbage
from tests.kit.stages import CountRequest, CountResult

KEPT = KeptFiles("checkpoints/step-*.bin", beside=("samples/*.png",))
Make = Callable[..., StateKeeper]
REQUEST = CountRequest(name="a training")


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def machine(tmp_path: Path, notes: list[str]) -> Make:
    """The keeper of a machine of that name; all of them share a store."""

    def made(name: str, minutes: float = 60.0) -> StateKeeper:
        settings = Settings(
            workspace=tmp_path / name,
            store=(tmp_path / "store").as_uri(),
            machine_name=name,
            checkpoint_minutes=minutes,
        )
        progress = Progress("count", lambda event: notes.append(event.text or ""))
        scratch = settings.scratch / "count" / REQUEST.key()
        scratch.mkdir(parents=True)
        store = Store(settings.store_url)
        keeper = keeper_of(KEPT, REQUEST, store, settings, scratch, progress)
        assert keeper is not None
        return keeper

    return made


def work(keeper: StateKeeper, step: int) -> None:
    for name, text in (
        (f"samples/{step:08d}.png", f"sample {step}"),
        (f"checkpoints/step-{step:08d}.bin", f"state {step}"),
    ):
        path = keeper.scratch / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def states(store: Store) -> list[StoredState]:
    found = [path for path in store.files.list("stages") if "/states/" in path]
    return [StoredState.from_bytes(store.files.read(path), where=path) for path in found]


def test_another_machine_goes_on_from_the_newest(machine: Make, notes: list[str]) -> None:
    first, second = machine("first"), machine("second")
    for step in (5, 10):
        work(first, step)
        assert first.put()
    assert not first.put(), "it is there"
    assert second.fetch() == "checkpoints/step-00000010.bin"
    kept = {path.relative_to(second.scratch).as_posix(): path.read_text() for path in second.scratch.rglob("*.*")}
    assert kept == {
        "checkpoints/step-00000010.bin": "state 10",
        "samples/00000005.png": "sample 5",
        "samples/00000010.png": "sample 10",
    }
    assert any("which first left in the store" in note for note in notes)
    assert not second.put(), "what was taken is there"
    work(second, 15)
    assert second.put() and first.fetch() == "checkpoints/step-00000015.bin"


def test_a_machine_with_a_newer_state_keeps_its_own(machine: Make) -> None:
    first, second = machine("first"), machine("second")
    work(first, 5)
    first.put()
    work(second, 10)
    assert second.fetch() is None and not (second.scratch / "checkpoints/step-00000005.bin").exists()


@pytest.mark.parametrize("harm", ["gone", "damaged", "torn line"])
def test_a_state_that_is_not_whole_is_not_taken(machine: Make, harm: str, tmp_path: Path) -> None:
    first = machine("first")
    for step in (5, 10):
        work(first, step)
        first.put()
    newest = states(first.store)[-1]
    blob = next((tmp_path / "store" / "blobs").rglob(newest.files[newest.name]))
    line = max((tmp_path / "store" / "stages").rglob("states/*.json"))
    {"gone": blob.unlink, "damaged": lambda: blob.write_text("x"), "torn line": lambda: line.write_bytes(b"{")}[harm]()
    second = machine("second")
    assert second.fetch() == "checkpoints/step-00000005.bin"
    assert (second.scratch / "checkpoints/step-00000005.bin").read_text() == "state 5"
    assert not (second.scratch / "checkpoints/step-00000010.bin").exists()
    work(second, 7)
    assert second.put(), "what was not whole counts for nothing"
    second.clear()
    assert states(second.store) == []


def test_few_states_stay_and_none_after_the_end_but_what_the_result_names(machine: Make) -> None:
    first = machine("first")
    for step in range(1, 6):
        work(first, step)
        first.put()
    assert [state.name[-6:-4] for state in states(first.store)] == ["04", "05"] and KEEP == 2
    first.store.put_blob(b"of somebody else")
    first.clear()
    assert states(first.store) == []
    left = {first.store.files.read(path) for path in first.store.files.list("blobs")}
    assert left == {b"of somebody else", *(f"sample {step}".encode() for step in range(1, 6))}


def test_the_state_goes_to_the_store_while_the_stage_works_and_at_a_stop(machine: Make) -> None:
    first = machine("first", minutes=0.01)
    work(first, 5)
    with pytest.raises(InterruptedStageError), first.keeping():
        wait_for(lambda: bool(states(first.store)), 240, lambda: "nothing was stored in the background")
        work(first, 10)
        raise InterruptedStageError("It was told to stop.")
    assert states(first.store)[-1].name == "checkpoints/step-00000010.bin"


def test_a_store_that_is_away_does_not_end_a_training(
    machine: Make, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = machine("first", minutes=0.01)
    tried = threading.Event()

    def away(data: bytes) -> str:
        tried.set()
        raise ServerError("The store does not answer.")

    with first.keeping():
        monkeypatch.setattr(first.store, "put_blob", away)
        work(first, 5)
        assert tried.wait(240)
        monkeypatch.undo()
        wait_for(lambda: bool(states(first.store)), 240, lambda: "it did not try again")
    assert len([note for note in notes if "does not reach the store" in note]) == 1


def test_nothing_is_kept_where_the_store_is_the_machines_own(tmp_path: Path) -> None:
    def keeper(**more: object) -> StateKeeper | None:
        settings = Settings.model_validate({"workspace": tmp_path / "w", **more})
        sink: list[ProgressEvent] = []
        store = Store(settings.store_url)
        return keeper_of(KEPT, REQUEST, store, settings, tmp_path, Progress("count", sink.append))

    assert keeper() is None
    assert keeper(store=(tmp_path / "w" / "store").as_uri()) is None
    assert keeper(store=(tmp_path / "elsewhere").as_uri(), checkpoint_minutes=0) is None
    found = keeper(store=(tmp_path / "elsewhere").as_uri())
    assert found is not None and found.seconds == 300


def test_states_of_what_is_finished_are_garbage_and_others_are_not(machine: Make) -> None:
    first = machine("first")
    work(first, 5)
    first.put()
    settings = Settings(workspace=first.scratch.parents[2], store=first.store.files.url)
    assert find_garbage(settings, keep_seconds=0).files == ()
    first.store.put_result(REQUEST, CountResult(counted=(), memory_level=0))
    garbage = find_garbage(settings, keep_seconds=0)
    assert any("/states/" in path for path in garbage.files), garbage
