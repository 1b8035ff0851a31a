"""Only the Prefect server of a workspace, as `flenwheel up` starts it, for benchmarks and tests."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from benchmarks.kit.prefect_database import place
from benchmarks.kit.workspace import STOP_SECONDS, wait_for
from deployments.prefect.api import FlowRun, PrefectApi
from deployments.workspace import environment
from deployments.workspace.ports import Port
from flenwheel_core.base.ids import Json
from flenwheel_core.base.processes import ended_with_parent
from flenwheel_core.base.settings import Settings


@dataclass
class PrefectServer:
    """Only the server of a workspace, with a deployment and a run that waits at a gate."""

    url: str
    api: PrefectApi
    deployment: str = ""
    gate: str = ""

    def furnish(self) -> None:
        flow = self.made("/flows/", {"name": "flywheel-1"})
        self.deployment = self.made(
            "/deployments/", {"name": "turn", "flow_id": flow, "enforce_parameter_schema": False}
        )
        self.gate = self.made("/flow_runs/", {"flow_id": flow, "name": "waits", "state": {"type": "RUNNING"}})
        assert self.api.set_state(self.gate, "PAUSED", "Suspended", force=True) == "ACCEPT"

    def made(self, path: str, body: Json) -> str:
        return str(cast("dict[str, Json]", self.api.call("POST", path, body))["id"])

    def runs(self) -> list[FlowRun]:
        return self.api.runs()


@contextmanager
def serve(
    folder: Path, *, command: Sequence[str] = (), database: Path | None = None, **more: object
) -> Iterator[PrefectServer]:
    """The running server; `more` are settings. Another command than the workspace's gets host and port at its end. `database`: what an
    empty one is copied from; without it the server makes its own.
    """
    place(database, folder)
    settings = Settings.model_validate({"workspace": folder, "gpu": "cpu", **more})
    port = Port(settings.host, 4600)
    log = folder / "server.log"
    with log.open("ab") as said:
        process = subprocess.Popen(
            [*command, settings.host, str(port.number)]
            if command
            else environment.server_command(settings, port.number),
            env=environment.service_environment(settings, port.number),
            cwd=folder,
            stdout=said,
            stderr=said,
            preexec_fn=ended_with_parent(),
        )
    url = environment.local_url(settings, port.number)
    token = settings.token.get_secret_value() if settings.token else None
    server = PrefectServer(url, PrefectApi(f"{url}/api", token))
    try:
        wait_for(server.api.healthy, 240, log.read_text)
        yield server
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
        port.close()
