"""The reconciler judges only runs that this workspace's own worker took: all others are let alone."""

import pytest

from benchmarks.kit.workspace import FINAL, Running
from deployments.prefect.gates import resume_gate
from deployments.workspace.environment import POOL, worker_name
from deployments.workspace.reconciler import is_lost, mark_crashed, take_up_again
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.runner import flow_run as run_process
from flenwheel_core.runner.flow_run import living
from tests.kit.living_runs import process_of
from tests.kit.server_runs import run_in_state, scheduled_far_ahead, state_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("worker", ["ProcessWorker 0b1c", "elsewhere-worker", None])
@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "CANCELLING"])
def test_runs_of_other_workers_are_let_alone(running: Running, state: str, worker: str | None) -> None:
    run = run_in_state(running, state, worker)
    said = [*mark_crashed(running.api, running.settings, 0, 0), *take_up_again(running.api, running.settings)]
    assert not [line for line in said if run in line]
    assert state_of(running, run) == state
    running.api.set_state(run, "CANCELLED", "Cancelled", force=True)


def test_a_run_whose_worker_died_before_it_wrote_its_name_is_scheduled_again(running: Running) -> None:
    run = scheduled_far_ahead(running)
    assert running.api.set_state(run, "PENDING", "Pending", force=True) == "ACCEPT"
    mark_crashed(running.api, running.settings, 0, 3600)
    assert state_of(running, run) == "PENDING", "a worker may be about to"
    (line,) = [line for line in mark_crashed(running.api, running.settings, 0, 0) if run in line]
    assert "scheduled again" in line
    ended = running.wait_state(run, *FINAL)
    assert ended.state is not None and "no character" in (ended.state.message or ""), "a worker ran it"


def test_a_run_that_a_worker_took_and_never_began_before_it_went_is_scheduled_again(running: Running) -> None:
    """The worker of another machine, which was stopped: of its processes nothing is known here, but it had begun none."""
    run = scheduled_far_ahead(running)
    assert running.api.set_state(run, "PENDING", "Pending", force=True) == "ACCEPT"
    running.api.call("POST", f"/work_pools/{POOL}/workers/heartbeat", {"name": "living-worker"})
    running.api.call("PATCH", f"/flow_runs/{run}/labels", {"prefect.worker.name": "living-worker"})
    mark_crashed(running.api, running.settings, 0, 0)
    assert state_of(running, run) == "PENDING", "it may be about to"
    running.api.call("PATCH", f"/flow_runs/{run}/labels", {"prefect.worker.name": "gone-worker"})
    (line,) = [line for line in mark_crashed(running.api, running.settings, 0, 0) if run in line]
    assert "scheduled again" in line
    ended = running.wait_state(run, *FINAL)
    assert ended.state is not None and "no character" in (ended.state.message or ""), "a worker ran it"


def test_an_own_run_that_was_taken_and_never_begun_is_scheduled_again(running: Running) -> None:
    """Its worker was killed in between and is there again."""
    run = scheduled_far_ahead(running)
    assert running.api.set_state(run, "PENDING", "Pending", force=True) == "ACCEPT"
    running.api.call("PATCH", f"/flow_runs/{run}/labels", {"prefect.worker.name": worker_name(running.settings)})
    (line,) = [line for line in mark_crashed(running.api, running.settings, 0, 0) if run in line]
    assert "scheduled again" in line
    ended = running.wait_state(run, *FINAL)
    assert ended.state is not None and "no character" in (ended.state.message or ""), "a worker ran it"


def test_an_own_run_with_a_living_process_is_let_alone(running: Running) -> None:
    run = run_in_state(running, "RUNNING", worker_name(running.settings))
    with process_of(running.settings, run) as process:
        mark_crashed(running.api, running.settings, 0, 0)
        take_up_again(running.api, running.settings)
        assert state_of(running, run) == "RUNNING"
        process.kill()
        process.wait()
        assert is_lost(running.api.run(run), running.settings)
    mark_crashed(running.api, running.settings, 0, 0)
    state = running.api.run(run).state
    assert state is not None and state.type == "CRASHED" and "without a word" in (state.message or "")


def test_a_run_that_another_worker_took_over_is_not_ours_any_more(running: Running) -> None:
    run = run_in_state(running, "RUNNING", "elsewhere-worker")
    with living(running.settings, run):
        pass
    mark_crashed(running.api, running.settings, 0, 0)
    assert state_of(running, run) == "RUNNING"
    running.api.set_state(run, "CANCELLED", "Cancelled", force=True)


def test_a_second_worker_in_this_workspace_is_judged_by_its_notes(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one for a second card; a worker of the same name on another machine is not this one."""
    settings = running.settings
    own, elsewhere = (run_in_state(running, "RUNNING", "card-1") for _ in range(2))
    with living(settings, own, "card-1"):
        assert not is_lost(running.api.run(own), settings)
    with monkeypatch.context() as patch:
        patch.setattr(run_process, "_boot", lambda: "another boot")
        patch.setattr(run_process, "_machine", lambda: "another machine")
        with living(settings, elsewhere, "card-1"):
            pass
    mark_crashed(running.api, settings, 0, 0)
    assert (state_of(running, own), state_of(running, elsewhere)) == ("CRASHED", "RUNNING")
    running.api.set_state(elsewhere, "CANCELLED", "Cancelled", force=True)


def test_the_reason_is_what_the_process_said(running: Running) -> None:
    run = run_in_state(running, "RUNNING", worker_name(running.settings))
    with pytest.raises(RuntimeError), living(running.settings, run):
        raise RuntimeError("Server error '500 Internal Server Error'")
    mark_crashed(running.api, running.settings, 0, 0)
    state = running.api.run(run).state
    assert state is not None and "Server error '500 Internal Server Error'" in (state.message or "")


def test_an_own_run_whose_cancelling_was_cut_short_is_cancelled(running: Running) -> None:
    run = run_in_state(running, "CANCELLING", worker_name(running.settings))
    mark_crashed(running.api, running.settings, 0, 0)
    assert state_of(running, run) == "CANCELLED"


def test_a_run_that_a_person_suspended_takes_no_gates_answer(running: Running) -> None:
    run = run_in_state(running, "PAUSED", worker_name(running.settings))
    outcome = ClosedGate(
        gate="g", verdict="stop", decisions="0" * 64, good=0, needs_correction=0, reject=0, undecided=0, enough=False
    )
    result = resume_gate(running.api, run, outcome)
    assert not result.accepted and "does not wait" in result.reason
    running.api.cancel(run)
    assert state_of(running, run) == "CANCELLED"


def test_what_a_stop_interrupted_goes_on_once(running: Running) -> None:
    api, run = running.api, scheduled_far_ahead(running)
    api.call("PATCH", f"/flow_runs/{run}/labels", {"prefect.worker.name": worker_name(running.settings)})
    assert api.set_state(run, "RUNNING", "Running", force=True) == "ACCEPT"
    assert [line for line in take_up_again(api, running.settings) if run in line]
    ended = running.wait_state(run, *FINAL)
    assert ended.state is not None and ended.state.type == "FAILED", "there is no such character"
    assert "no character" in (ended.state.message or "")
