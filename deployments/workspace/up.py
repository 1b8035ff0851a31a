"""Runs a workspace: server, limits, work pool, deployments, worker and studio, as one thing that starts, heals and stops together."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from deployments.access.door import check_binding
from deployments.prefect.api import STARTING_PATIENCE_SECONDS, PrefectApi
from deployments.prefect.deploying import AS_IT_WAS, MADE
from deployments.prefect.orders import ensure_pool
from deployments.prefect.project import PROJECT
from deployments.workspace import environment
from deployments.workspace.courier import Courier
from deployments.workspace.keeping import Answers, Duty, Keeper, Say
from deployments.workspace.ports import Port
from deployments.workspace.processes import Child
from deployments.workspace.reconciler import reconcile, take_up_again
from flenwheel_core.base.errors import ServerError, UserError
from flenwheel_core.base.locks import FileLock, held_by
from flenwheel_core.base.services import Services, load_services, save_services
from flenwheel_core.base.settings import Settings
from flenwheel_core.store import Store

SERVER_PORT = 4200
STUDIO_PORT = 4300
START_SECONDS = 600.0
RECONCILE_SECONDS = 15.0
STOP_SECONDS = 75.0
"""Longer than a training needs to save its state."""


class Workspace:
    """The processes of one workspace."""

    def __init__(self, settings: Settings, say: Say) -> None:
        check_binding(settings)
        self.settings = settings
        self._say = say
        self.keeper = Keeper(say)
        self._logs = settings.root / "logs"
        self._ports = (Port(settings.host, SERVER_PORT), Port(settings.host, STUDIO_PORT))
        self._port, self._studio_port = (port.number for port in self._ports)
        child = self._child
        self.server = child("server", environment.server_command(settings, self._port))
        self.worker = child("worker", environment.worker_command(settings))
        self.studio = child("studio", environment.studio_command(self._studio_port))
        self.services = self._services()
        token = settings.token.get_secret_value() if settings.token else None
        self.api = PrefectApi(self.services.api_url, token)
        self._patient_api = PrefectApi(self.services.api_url, token, patience_seconds=STARTING_PATIENCE_SECONDS)

    def _child(self, name: str, command: list[str]) -> Child:
        variables = environment.service_environment(self.settings, self._port)
        return Child(name, command, variables, PROJECT, self._logs / f"{name}.log")

    def _services(self) -> Services:
        api_url = environment.prefect_environment(self.settings, self._port)["PREFECT_API_URL"]
        return Services(
            pid=os.getpid(),
            started=datetime.now(UTC),
            api_url=api_url,
            interface_url=self.settings.prefect_url or environment.local_url(self.settings, self._port),
            studio_url=self.settings.studio_url or environment.local_url(self.settings, self._studio_port),
            logs=str(self._logs),
        )

    def start(self) -> None:
        """Starts everything; raises ServerError with the end of a log if something does not come up."""
        self.settings.root.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(exist_ok=True)
        self.keeper.start(self.server, stop_seconds=15, needed=True, answers=Answers(self.api.healthy, START_SECONDS))
        self.keeper.start(self.studio, stop_seconds=5)
        self.server.wait_until(self.api.healthy, START_SECONDS)
        self._patient_api.ensure_limit(self.settings.slot_limit, 1)
        ensure_pool(self._patient_api, environment.POOL)
        for line in take_up_again(self._patient_api, self.settings):
            self._say(line)
        self.keeper.start(self.worker, stop_seconds=STOP_SECONDS)
        self._deploy()
        self.studio.wait_until(self._studio_answers, START_SECONDS)
        save_services(self.settings, self.services)
        courier = Courier(Store(self.settings.store_url, self.settings.store_options))
        self.keeper.duties.append(Duty(lambda: reconcile(self.api, self.settings, courier), RECONCILE_SECONDS))
        self.keeper.tend()

    def _studio_answers(self) -> bool:
        try:
            httpx.get(f"{environment.local_url(self.settings, self._studio_port)}/api/v1/session", timeout=5)
        except httpx.TransportError:
            return False
        return True

    def _deploy(self) -> None:
        make_deployments(self.settings, environment.service_environment(self.settings, self._port), self._say)

    def stop(self) -> None:
        """Ends every process: worker and studio first, so that running stages save; the server last, so that it hears of it."""
        self.keeper.stop()
        (self.settings.root / "services.json").unlink(missing_ok=True)
        for port in self._ports:
            port.close()


def make_deployments(settings: Settings, variables: dict[str, str], say: Say) -> None:
    """Applies prefect.yaml and says what changed. Raises ServerError."""
    command = environment.deploy_command()
    done = subprocess.run(command, env=variables, cwd=PROJECT, capture_output=True, text=True, check=False)
    (log_folder(settings) / "deploy.log").write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        raise ServerError("The deployments could not be made.", why=(done.stdout + done.stderr)[-1500:])
    for line in done.stdout.splitlines():
        if not line.endswith((MADE, AS_IT_WAS)):
            say(line)


@contextmanager
def sole_owner(settings: Settings) -> Iterator[None]:
    """Held by the one `flenwheel up` of a workspace; raises UserError that says where the other one is."""
    with FileLock(_lock_of(settings)) as lock:
        if not lock.try_to_take():
            services = load_services(settings)
            where = (
                f"Prefect: {services.interface_url}, studio: {services.studio_url}"
                if services
                else "it is just starting"
            )
            raise UserError(
                f"FLENwheel already runs in this workspace ({settings.root}).",
                why=f"process {services.pid if services else '?'}; {where}.",
                remedy="Use it as it is, or stop it first with Ctrl-C in its terminal.",
            )
        yield


def is_running(settings: Settings) -> bool:
    """True while a `flenwheel up` holds this workspace."""
    return held_by(_lock_of(settings)) is not None


def _lock_of(settings: Settings) -> Path:
    return settings.root / "up.lock"


def run_workspace(settings: Settings, say: Say, ready: Callable[[Services], None]) -> None:
    """`flenwheel up`: until Ctrl-C or SIGTERM."""
    with sole_owner(settings):
        workspace = Workspace(settings, say)
        workspace.keeper.listen()
        try:
            workspace.start()
            workspace.keeper.started()
            ready(workspace.services)
            workspace.keeper.run()
        finally:
            workspace.stop()


def log_folder(settings: Settings) -> Path:
    """Where the services' logs are."""
    return settings.root / "logs"
