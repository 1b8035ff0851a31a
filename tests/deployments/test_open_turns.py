"""Schedules beside waiting gates, on a real server: one open turn at a time, gates that nobody else answers, turns that can be ended."""

import pytest

from benchmarks.kit.workspace import FINAL, Running, wait_for
from deployments.prefect.api import FlowRun
from deployments.prefect.gates import waiting_runs
from flenwheel_core.gates.session import Reviews
from flenwheel_core.lessons.collect import collect_triplets
from flenwheel_core.lessons.waiting import waiting_triplets
from flenwheel_core.library.characters import Library
from flenwheel_core.store.triplets import imported_triplets
from tests.kit.answers import approve_every_picture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def ended(running: Running, run: str) -> FlowRun:
    return running.wait_state(run, *FINAL)


def skipped(running: Running, run: str) -> str:
    """What a run that began no turn says."""
    state = ended(running, run).state
    assert state is not None and (state.type, state.name) == ("COMPLETED", "Skipped"), state
    return state.message or ""


def test_a_second_turn_begins_only_when_the_first_is_over_or_its_run_is_gone(running: Running) -> None:
    running.add_character("tara")
    first = running.schedule("tara")
    running.wait_gate("tara-t1-gate-a-r1")
    said = skipped(running, running.schedule("tara"))
    assert "tara-t1-gate-a-r1" in said and "flenwheel end tara 1" in said
    assert "waits at tara-t1-gate-a-r1" in running.cli("status").stdout
    refused = running.cli("run", "tara")
    assert refused.returncode == 1 and "tara-t1-gate-a-r1" in refused.stderr
    assert len(Library(running.store).turns("tara")) == 1

    running.api.call("DELETE", f"/flow_runs/{first}")
    said = running.cli("status").stdout
    assert "its run was deleted" in said and "waits tara" not in said
    second = running.schedule("tara")
    running.wait_gate("tara-t2-gate-a-r1")
    running.api.cancel(second)
    assert "its run was cancelled" in running.cli("status").stdout
    for number in (1, 2):
        done = running.cli("end", "tara", str(number))
        assert done.returncode == 0 and "is ended" in done.stdout, done.stderr
    assert [turn.outcome for turn in Library(running.store).ended_turns("tara")] == ["stopped", "stopped"]

    third = running.schedule("tara")
    running.wait_gate("tara-t3-gate-a-r1")
    done = running.cli("end", "tara")
    assert "its run ends by itself" in done.stdout, done.stdout + done.stderr
    state = ended(running, third).state
    assert state is not None and state.message == "stopped at tara-t3-gate-a-r1"
    assert "tara: 10 pictures in the pool; turns: 1 stopped, 2 stopped, 3 stopped" in running.cli("status").stdout


def test_a_gate_is_answered_for_one_run_only_and_a_stop_is_remembered(running: Running) -> None:
    running.add_character("uma")
    turn = running.schedule("uma")
    running.wait_gate("uma-t1-gate-a-r1")
    approve_every_picture(running, "uma-t1-gate-a-r1")
    assert running.answer("uma-t1-gate-a-r1").accepted
    running.wait_gate("uma-t1-gate-b-r1")
    assert running.answer("uma-t1-gate-b-r1", "stop").accepted
    ended(running, turn)

    def begin(**more: bool) -> str:
        return running.api.start("flywheel-2/turn", {"character": "uma", **more}).id

    # Two runs of one second: their ids begin alike. Either may open its turn first.
    first, second = begin(beside_open_turn=True), begin(beside_open_turn=True)
    gates = {run: running.wait_editor_gate(run) for run in (first, second)}
    assert len(set(gates.values())) == 2
    assert {Reviews(running.store).get(gate).flow_run for gate in gates.values()} == {first, second}
    assert gates[first] in skipped(running, begin()) or gates[second] in skipped(running, begin())
    assert running.answer(gates[first], "stop").accepted
    assert ended(running, first).state.message == "stopped at gate C"  # type: ignore[union-attr]
    assert gates[second] in waiting_runs(running.api), "the answer was not its own"
    assert running.cli("editor", "end").returncode == 0
    ended(running, second)

    assert "stopped these lessons" in skipped(running, begin())
    assert waiting_triplets(running.store, "uma") == 0
    again = begin(offer_stopped=True)
    running.answer(running.wait_editor_gate(again), "stop")
    ended(running, again)

    known = [triplet for triplet in collect_triplets(running.store).triplets if triplet.character == "uma"]
    imported_triplets(running.store).append(known[0].model_copy(update={"prompt": "a new one"}))
    offered = begin()
    gate = running.wait_editor_gate(offered)
    wait_for(lambda: gate in running.cli("status").stdout, 240, running.worker_log)
    assert running.answer(gate, "stop").accepted
    ended(running, offered)
