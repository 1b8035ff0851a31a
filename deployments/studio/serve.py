"""Serves the review studio of a workspace: `python -m deployments.studio.serve PORT`."""

import sys

import uvicorn

from deployments.prefect.flow_server import PrefectFlowServer
from deployments.studio.app import create_app
from flenwheel_core.base.settings import Settings


def main(port: int) -> None:
    """Listens until it is told to stop."""
    settings = Settings()
    app = create_app(settings, PrefectFlowServer(settings))
    # Whether a proxy is believed is the guard's matter (`trusted_proxies`), not uvicorn's, which believes everybody on this machine.
    uvicorn.run(
        app, host=settings.host, port=port, log_level="warning", timeout_graceful_shutdown=3, proxy_headers=False
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
