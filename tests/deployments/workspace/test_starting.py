"""A run's process that has not begun to work yet is there all the same: nobody starts a second one beside it."""

import os
import subprocess
import sys

from deployments.prefect.api import FlowRun
from deployments.workspace.environment import worker_name
from deployments.workspace.reconciler import is_lost
from flenwheel_core.base.settings import Settings

WAIT = "import sys; print('here', flush=True); sys.stdin.read()"


def test_a_process_that_still_starts_is_not_lost(settings: Settings) -> None:
    run = FlowRun(id="1" * 8, name="turn", labels={"prefect.worker.name": worker_name(settings)})
    assert is_lost(run, settings)
    command = [sys.executable, "-c", WAIT, "-m", "deployments.prefect.engine"]
    settings_of_it = {**os.environ, "PREFECT__FLOW_RUN_ID": run.id}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=settings_of_it) as process:
        assert process.stdout is not None and process.stdout.readline() == b"here\n"
        starting = run.model_copy(update={"infrastructure_pid": str(process.pid)})
        assert not is_lost(starting, settings)
        assert not is_lost(run.model_copy(update={"infrastructure_pid": f"host:{process.pid}"}), settings)
        assert is_lost(starting.model_copy(update={"id": "2" * 8}), settings)  # an earlier run that had the same number
        process.kill()
        process.wait()
        assert is_lost(starting, settings)


def test_another_process_of_that_number_is_none_of_its(settings: Settings) -> None:
    labels = {"prefect.worker.name": worker_name(settings)}
    with subprocess.Popen([sys.executable, "-c", WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"here\n"
        run = FlowRun(id="1" * 8, name="turn", labels=labels, infrastructure_pid=str(process.pid))
        assert is_lost(run, settings)
        process.kill()
