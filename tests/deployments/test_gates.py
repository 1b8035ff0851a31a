"""Gates on a real server: suspended runs survive kills, answers are never lost, taken twice, or empty."""

import os
import signal

import pytest

from benchmarks.kit.workspace import Running, wait_for
from deployments.prefect.gates import resume_gate, waiting_runs
from deployments.workspace.reconciler import reconcile
from flenwheel_core.gates.session import Reviews
from flenwheel_core.library.characters import Library

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def raw_resume(running: Running, run: str, answer: dict[str, object]) -> tuple[str, str]:
    """What the form of the Prefect interface sends."""
    response = running.api.send("POST", f"/flow_runs/{run}/resume", {"run_input": answer})  # type: ignore[dict-item]
    body = response.json()
    return str(body["status"]), str((body.get("details") or {}).get("reason", ""))


def test_a_turn_survives_a_killed_server_and_every_way_to_answer(running: Running) -> None:
    running.add_character("mira")
    started = running.cli("run", "mira")
    assert started.returncode == 0, started.stderr
    gate_a, gate_b = "mira-t1-gate-a-r1", "mira-t1-gate-b-r1"
    run = running.wait_gate(gate_a).id

    # The server is killed while the run is suspended. The answer given meanwhile is kept and reaches the run later.
    os.kill(running.service_pids()["server"], signal.SIGKILL)
    approved = running.cli("approve", gate_a, "--verdict", "approve", "--undecided", "take_passed")
    assert approved.returncode == 0 and "The answer is kept" in approved.stdout, approved.stderr
    wait_for(running.api.healthy, 240, running.log.read_text)
    if "The run goes on." not in approved.stdout:
        assert "as soon as" in approved.stdout
        reconcile(running.api, running.settings)
    again = running.cli("approve", gate_a, "--verdict", "stop")
    assert again.returncode == 1 and "the first answer stands" in again.stderr and "Traceback" not in again.stderr

    # Gate B from the form of the Prefect interface: a blank answer, nonsense, too few pictures, then an override.
    running.wait_gate(gate_b)
    assert raw_resume(running, run, {})[0] == "REJECT"
    assert "verdict" in raw_resume(running, run, {"verdict": "maybe"})[1]
    assert raw_resume(running, run, {"verdict": "approve"})[0] == "ACCEPT"
    wait_for(lambda: _attempt(running, gate_b) == "2", 240, running.worker_log)
    assert Reviews(running.store).closed(gate_b) is None
    assert (
        raw_resume(running, run, {"verdict": "approve", "undecided": "take_passed", "reviewer": "form"})[0] == "ACCEPT"
    )
    assert raw_resume(running, run, {"verdict": "stop"})[0] == "ABORT"
    # Handing over an outcome that reached the run by another way is no failure: the run goes on.
    known = Reviews(running.store).closed(gate_a)
    assert known is not None and resume_gate(running.api, run, known).accepted

    ended = running.wait_state(run, "COMPLETED", "FAILED", "CRASHED", seconds=400)
    assert ended.state is not None and ended.state.type == "COMPLETED", running.worker_log()
    closed = Reviews(running.store).closed(gate_b)
    assert closed is not None and closed.reviewer == "form" and closed.good > 0
    assert not resume_gate(running.api, run, closed).accepted
    library = Library(running.store)
    assert [turn.outcome for turn in library.ended_turns("mira")] == ["promoted"]
    champion = library.champion("mira")
    assert champion is not None and champion.lora.name == "mira-t1-challenger"
    assert "champion mira-t1-challenger" in running.cli("status").stdout


def _attempt(running: Running, gate: str) -> str | None:
    run = waiting_runs(running.api).get(gate)
    keys = run.state.input_keys() if run is not None and run.state is not None else None
    return keys["response"].removesuffix("-response").rpartition("-")[2] if keys else None


def test_second_up_says_where_the_first_one_is(running: Running) -> None:
    second = running.cli("up")
    assert second.returncode == 1 and "already runs in this workspace" in second.stderr
    assert "http://127.0.0.1" in second.stderr and "Traceback" not in second.stderr
