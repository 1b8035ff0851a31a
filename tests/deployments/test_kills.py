"""Kills in the middle of a training, with two turns at once: only what is missing is made again, one GPU stage at a time."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kit.workspace import Running, overlaps, wait_for, write_recipe
from deployments.workspace.reconciler import reconcile
from flenwheel_core.library.characters import Library
from flenwheel_core.runner.flow_run import run_processes
from tests.kit.running_workspace import running_workspace

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]
STEPS = 300


@pytest.fixture
def running(tmp_path: Path, prefect_database: Path) -> Iterator[Running]:
    """Its stages are forked, as they are for everybody whose stages need what is imported ahead."""
    with running_workspace(tmp_path, prefect_database, import_ahead=True) as workspace:
        yield workspace


def test_killed_worker_and_run_go_on_from_the_checkpoint(running: Running) -> None:
    long = write_recipe(running.settings.root / "long", steps=STEPS)
    short = running.recipe
    running.recipe = long
    running.add_character("nora")
    running.recipe = short
    running.add_character("ora")
    runs = {name: running.schedule(name) for name in ("nora", "ora")}
    for name in runs:
        running.wait_gate(f"{name}-t1-gate-a-r1")
        assert running.answer(f"{name}-t1-gate-a-r1").accepted

    wait_for(lambda: bool(_checkpoint(running)), 400, running.worker_log)
    os.kill(running.service_pids()["worker"], signal.SIGKILL)
    process = run_processes(running.settings).get(runs["nora"])
    if process is not None:
        os.kill(process, signal.SIGKILL)

    def crashed() -> bool:
        reconcile(running.api, running.settings, running_grace_seconds=1, pending_grace_seconds=5)
        state = running.api.run(runs["nora"]).state
        return state is not None and state.type == "CRASHED"

    wait_for(crashed, 240, running.worker_log)
    assert running.api.retry(runs["nora"], force=False) == "ACCEPT"
    for name, run in runs.items():
        ended = _finish_retrying(running, run, name)
        assert ended == "COMPLETED", running.worker_log()

    starts = [line for line in running.stage_runs() if line.stage == "train" and line.event == "started"]
    assert len({line.request for line in starts}) < len(starts), "the training was interrupted"
    assert overlaps(running.stage_runs(), {}) == []
    for name in runs:
        champion = Library(running.store).champion(name)
        assert champion is not None
        again = running.cli("reproduce", champion.lora.digest)
        assert again.returncode == 0 and "identical" in again.stdout, again.stderr


def _checkpoint(running: Running) -> list[object]:
    """Checkpoints of the long training, once there is one."""
    found: list[object] = []
    for path in running.settings.scratch.glob("train/*/checkpoints/step-*.json"):
        request = running.store.files.read(f"stages/train/{path.parents[1].name}/request.json").decode()
        if f'"steps":{STEPS}' in request:
            found.append(path)
    return found


def _finish_retrying(running: Running, run: str, name: str) -> str:
    """A run that the kill took down with it is retried, as a person would."""
    for _ in range(4):
        ended = running.finish(run, name)
        assert ended.state is not None
        if ended.state.type not in ("CRASHED", "FAILED"):
            return ended.state.type
        running.api.retry(run, force=False)
    return ended.state.type
