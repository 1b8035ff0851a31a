"""Many turns at once beside a studio that is asked all the time: SQLite is busy, and nobody notices."""

import threading

import httpx
import pytest

from benchmarks.kit.workspace import FINAL, Running
from flenwheel_core.base.services import load_services

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]
NAMES = ("ada", "bea", "cleo", "dora", "elsa")


def test_five_turns_at_once_reach_their_gates_while_the_studio_is_asked(running: Running) -> None:
    services, stop, answers = load_services(running.settings), threading.Event(), set[int]()
    assert services is not None and services.studio_url is not None
    address = f"{services.studio_url}/api/v1/"

    def ask() -> None:
        with httpx.Client(timeout=60) as client:
            while not stop.wait(0.2):
                answers.update(client.get(address + page).status_code for page in ("turns", "gates"))

    asking = threading.Thread(target=ask)
    for name in NAMES:
        running.add_character(name)
    asking.start()
    try:
        runs = {name: running.schedule(name) for name in NAMES}
        for name in NAMES:
            running.wait_gate(f"{name}-t1-gate-a-r1", seconds=400)
        for name in NAMES:
            assert running.answer(f"{name}-t1-gate-a-r1", "stop").accepted
        ends = {running.wait_state(run, *FINAL, seconds=400).state.type for run in runs.values()}  # type: ignore[union-attr]
    finally:
        stop.set()
        asking.join()
    assert ends == {"COMPLETED"} and answers == {200}
