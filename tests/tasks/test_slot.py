"""The slots of cards on a real server: of several all or none, and each card's stands for itself."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from benchmarks.kit.prefect_server import PrefectServer, serve
from benchmarks.kit.workspace import wait_for
from flenwheel_core.base.errors import ResourceError
from flenwheel_core.base.progress import ProgressEvent
from flenwheel_core.base.settings import Settings
from tasks import slot
from tasks.slot import gpu_slot

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, prefect_database: Path) -> Iterator[PrefectServer]:
    with serve(tmp_path_factory.mktemp("server"), database=prefect_database) as found:
        told = {PREFECT_API_URL: f"{found.url}/api", PREFECT_LOGGING_TO_API_ENABLED: False}
        with temporary_settings(told):
            yield found


def taken(server: PrefectServer) -> dict[str, int]:
    return {limit.name: limit.active_slots for limit in server.api.limits() if limit.name.startswith("gpu:rack")}


def test_two_cards_are_held_together_or_not_at_all(server: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "WORTH_A_LINE_SECONDS", 0.05)
    both, second = (Settings(machine_name="rack", gpu=gpu) for gpu in ("0,1", "1"))
    said: list[ProgressEvent] = []
    holding, done = threading.Event(), threading.Event()

    def train() -> None:
        told = {PREFECT_API_URL: f"{server.url}/api", PREFECT_LOGGING_TO_API_ENABLED: False}
        with temporary_settings(told), gpu_slot(both, "train", said.append, 2):
            holding.set()
            done.wait()

    training = threading.Thread(target=train)
    try:
        with gpu_slot(second, "generate", lambda event: None):
            training.start()
            wait_for(lambda: bool(said), 120, lambda: "it does not wait")
            assert said[0].text == "for the GPU slot rack:0 and rack:1"
            assert taken(server) == {"gpu:rack:0": 0, "gpu:rack:1": 1}, "it takes no card while it waits for the other"
            with gpu_slot(both, "enrich", lambda event: None):  # one card of two: the first, which is free
                assert taken(server) == {"gpu:rack:0": 1, "gpu:rack:1": 1}
        wait_for(holding.is_set, 120, lambda: f"not granted: {taken(server)}")
        assert taken(server) == {"gpu:rack:0": 1, "gpu:rack:1": 1}
    finally:
        done.set()
        if training.is_alive():
            training.join()
    assert taken(server) == {"gpu:rack:0": 0, "gpu:rack:1": 0}


def test_cards_that_are_not_there_are_refused_before_anything_waits(server: PrefectServer) -> None:
    with (
        pytest.raises(ResourceError, match="asks for 3 cards"),
        gpu_slot(Settings(machine_name="rack", gpu="0,1"), "train", lambda event: None, 3),
    ):
        pytest.fail("there is no third card")
