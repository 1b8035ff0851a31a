"""Runs one flow run as Prefect's engine does, and shows that it lives as long as it does: `python -m deployments.prefect.engine`."""

import os
import runpy

from deployments.prefect.fence import leave_when_taken_over
from deployments.prefect.patience import expect_a_server
from flenwheel_core.base.settings import Settings
from flenwheel_core.runner.flow_run import living


def main() -> None:
    """The run that a worker named in the environment, beside its own name."""
    expect_a_server()
    settings, run, worker = Settings(), os.environ["PREFECT__FLOW_RUN_ID"], os.environ.get("PREFECT__WORKER_NAME", "")
    if settings.server_url is not None:
        leave_when_taken_over(settings, run, worker)
    with living(settings, run, worker):
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
