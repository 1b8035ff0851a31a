"""Runs one flow run as Prefect's engine does, and shows that it lives as long as it does: `python -m deployments.prefect.engine`."""

import os
import runpy

from deployments.prefect.patience import expect_a_server
from flenwheel_core.base.settings import Settings
from flenwheel_core.runner.flow_run import living


def main() -> None:
    """The run that a worker named in the environment, beside its own name."""
    expect_a_server()
    with living(Settings(), os.environ["PREFECT__FLOW_RUN_ID"], os.environ.get("PREFECT__WORKER_NAME", "")):
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
