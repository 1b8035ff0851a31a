"""A worker that joins another machine's server takes up again, or gives back, what it had when it was stopped, and judges nobody else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kit.workspace import FINAL, Running, wait_for
from deployments.workspace.environment import worker_name
from deployments.workspace.joining import give_back
from deployments.workspace.reconciler import mark_crashed
from flenwheel_core.base.settings import Settings
from tasks.share_names import SLOT
from tests.kit.command_line import run
from tests.kit.server_runs import run_in_state, scheduled_far_ahead, state_of


def test_it_asks_for_a_server(
    capsys: pytest.CaptureFixture[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    code, _, err = run(capsys, "worker")
    assert code == 1 and "PREFECT_API_URL is not set" in err and "http://MACHINE:4200/api" in err


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_it_had_taken_goes_on_after_its_restart(running: Running, tmp_path: Path) -> None:
    settings = running.settings.model_copy(
        update={"workspace": tmp_path / "second", "store": running.settings.store_url}
    )
    own, others = scheduled_far_ahead(running), run_in_state(running, "PENDING", "living-worker")
    assert running.api.set_state(own, "PENDING", "Pending", force=True) == "ACCEPT"
    running.api.call("PATCH", f"/flow_runs/{own}/labels", {"prefect.worker.name": worker_name(settings)})
    log = tmp_path / "second.log"
    environment = running.environment() | settings.environment() | {"PREFECT_API_URL": running.api.url}
    with log.open("wb") as out:
        command = [sys.executable, "-m", "deployments.cli.app", "worker"]
        worker = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=out, stderr=out)
    try:
        wait_for(lambda: "goes on where it was" in log.read_text(), 300, log.read_text)
        ended = running.wait_state(own, *FINAL, seconds=300)
        assert ended.state is not None and "no character" in (ended.state.message or ""), "a worker ran it"
        mark_crashed(running.api, settings, 0, 0, of_others=False)
        assert state_of(running, others) == "PENDING"
    finally:
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.wait(150) == 0, log.read_text()
        running.api.set_state(others, "CANCELLED", "Cancelled", force=True)


@pytest.mark.slow
def test_what_a_stopped_machine_of_a_cluster_worked_at_is_given_back(running: Running, tmp_path: Path) -> None:
    settings = running.settings.model_copy(update={"workspace": tmp_path / "second"})
    own = run_in_state(running, "RUNNING", worker_name(settings))
    share = run_in_state(running, "RUNNING", worker_name(settings), {SLOT: f"{settings.machine_name}:0"})
    others = run_in_state(running, "RUNNING", "living-worker")
    (said,) = give_back(running.api, settings)
    assert f"({own}): given back" in said and "(ACCEPT)" in said
    assert [state_of(running, one) for one in (own, share, others)] == ["SCHEDULED", "RUNNING", "RUNNING"]
    assert give_back(running.api, settings) == []
    for one in (own, share, others):
        running.api.set_state(one, "CANCELLED", "Cancelled", force=True)
