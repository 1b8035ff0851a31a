"""Flywheel 2 on a real server: gate C suspends the run, the form answers it, and the next turn edits with the promoted editor."""

import pytest

from benchmarks.kit.workspace import Running, wait_for
from flenwheel_core.documents.images import LoraUse
from flenwheel_core.gates.session import Reviews
from flenwheel_core.library.characters import Library
from flenwheel_core.library.editors import EditorLibrary
from flenwheel_core.requests.enrich import EnrichRequest
from tests.kit.answers import approve_every_picture

pytestmark = pytest.mark.slow


def test_the_editor_learns_from_a_turn_and_the_next_turn_uses_it(running: Running) -> None:
    running.add_character("vera")
    asked = {"character": "vera", "offer_stopped": True}  # whatever other tests left behind on this server
    early = running.wait_state(running.api.start("flywheel-2/turn", asked).id, "COMPLETED", "FAILED")
    assert early.state is not None and early.state.type == "COMPLETED", running.worker_log()
    ended = {run.flow_run: run.outcome for run in EditorLibrary(running.store).ended_runs()}
    assert early.id in ended, early.state.message
    assert ended[early.id] == "too few"

    turn = running.schedule("vera")
    running.wait_gate("vera-t1-gate-a-r1")
    approve_every_picture(running, "vera-t1-gate-a-r1")
    assert running.finish(turn, "vera").state.type == "COMPLETED", running.worker_log()  # type: ignore[union-attr]

    run = running.api.start("flywheel-2/turn", {"character": "vera"}).id
    gate = running.wait_editor_gate(run)
    session = Reviews(running.store).get(gate)
    assert session.kind == "triplets" and session.flow_run == run
    answer = {"verdict": "approve", "undecided": "take_passed", "reviewer": "form"}
    response = running.api.send("POST", f"/flow_runs/{run}/resume", {"run_input": answer})  # type: ignore[dict-item]
    assert response.json()["status"] == "ACCEPT"
    ended = running.wait_state(run, "COMPLETED", "FAILED", "CRASHED", seconds=400)
    assert ended.state is not None and ended.state.type == "COMPLETED", running.worker_log()
    closed = Reviews(running.store).closed(gate)
    assert closed is not None and closed.reviewer == "form" and closed.good >= 10

    library = EditorLibrary(running.store)
    assert {line.flow_run: line.outcome for line in library.ended_runs()}[run] == "promoted"
    champion = library.champions()[-1]
    assert champion.lora.target == "editor" and champion.flow_run == run
    waiting = running.api.start("flywheel-2/when-lessons-wait", {}).id
    ended = running.wait_state(waiting, "COMPLETED", "FAILED", "CRASHED")
    assert ended.state is not None and ended.state.type == "COMPLETED", running.worker_log()
    assert ended.state.name == "Skipped" and "Not enough new lessons" in (ended.state.message or "")

    second = running.schedule("vera")
    place = "turns/vera/0002/enrich-r1"
    wait_for(lambda: running.store.get_document(place, EnrichRequest) is not None, 240, running.worker_log)
    request = running.store.get_document(place, EnrichRequest)
    assert request is not None and request.loras == (LoraUse(digest=champion.lora.digest, weight=1.0),)
    running.wait_gate("vera-t2-gate-a-r1")
    assert running.answer("vera-t2-gate-a-r1", "stop").accepted
    assert second in {turn.flow_run for turn in Library(running.store).turns("vera")}
