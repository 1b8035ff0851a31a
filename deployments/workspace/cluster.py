"""The parts of a cluster on this machine: `flenwheel up --server`, `--join URL`, `--studio`, each alone or together.

A server is API servers and Prefect's background services, which keep everything in Postgres and Redis; a second machine may run the same.
A machine that joins runs workers, one a card, and nothing else. A studio is the web app. All share one store.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime

import httpx

from deployments.access.door import check_binding
from deployments.prefect.api import STARTING_PATIENCE_SECONDS, PrefectApi
from deployments.prefect.orders import ensure_pool
from deployments.prefect.project import PROJECT
from deployments.workspace import cluster_parts, environment, machines
from deployments.workspace.joining import (
    WORKER_STOP_SECONDS,
    card_settings,
    give_back,
    prepare_worker,
    put_right,
    worker_child,
)
from deployments.workspace.keeping import Duty, Keeper, Say
from deployments.workspace.ports import Port
from deployments.workspace.processes import Child
from deployments.workspace.server_duties import server_duties
from deployments.workspace.up import (
    RECONCILE_SECONDS,
    SERVER_PORT,
    START_SECONDS,
    STUDIO_PORT,
    log_folder,
    make_deployments,
    sole_owner,
)
from flenwheel_core.base.errors import FlenwheelError, UserError
from flenwheel_core.base.services import Services, save_services
from flenwheel_core.base.settings import Settings
from flenwheel_core.base.slots import slots_named

SERVER_STOP_SECONDS = 15.0
STUDIO_STOP_SECONDS = 5.0
SHORT_PATIENCE_SECONDS = 3.0


class ClusterMachine:
    """What this machine runs of a cluster."""

    def __init__(self, settings: Settings, say: Say, *, server: bool, join: str | None, studio: bool) -> None:
        url = join or settings.server_url
        if server:
            cluster_parts.require_parts(settings)
        self.ports = [Port(settings.host, SERVER_PORT)] if server else []
        if server:
            self.ports += [Port(settings.host, self.ports[-1].number + 1) for _ in range(settings.api_servers - 1)]
            url = url or environment.local_url(settings, self.ports[0].number)
        if url is None:
            raise UserError(
                "Which server this machine is to work with is not known.",
                why="FLENWHEEL_SERVER_URL is not set.",
                remedy="Set it to the address of the Prefect server, such as http://MACHINE:4200.",
            )
        cluster_parts.require_store(settings)
        self.settings = Settings.model_validate({**_given(settings), "server_url": url})
        check_binding(self.settings)
        self.roles = tuple(
            name for name, wanted in (("server", server), ("worker", join is not None), ("studio", studio)) if wanted
        )
        self._studio_port = Port(settings.host, STUDIO_PORT) if studio else None
        self._say = say
        self.keeper = Keeper(say)
        self.workers = card_settings(self.settings) if join is not None else []
        self.services = self._described()

    def _described(self) -> Services:
        studio = None
        if self._studio_port is not None:
            studio = self.settings.studio_url or environment.local_url(self.settings, self._studio_port.number)
        return Services(
            pid=os.getpid(),
            started=datetime.now(UTC),
            api_url=f"{self._address()}/api",
            interface_url=self.settings.prefect_url or self._address(),
            studio_url=studio,
            logs=str(log_folder(self.settings)),
            of_cluster=True,
        )

    def _address(self) -> str:
        """Where programs of this machine find a server: its own, or what stands before all of them."""
        if self.ports:
            return environment.local_url(self.settings, self.ports[0].number)
        assert self.settings.server_url is not None
        return self.settings.server_url

    def _api(self, url: str, patience_seconds: float = SHORT_PATIENCE_SECONDS) -> PrefectApi:
        token = self.settings.token.get_secret_value() if self.settings.token else None
        return PrefectApi(f"{url}/api", token, patience_seconds=patience_seconds)

    def start(self) -> None:
        """Starts all of it, and returns when it answers. Raises ServerError with the end of a log if something does not come up."""
        log_folder(self.settings).mkdir(parents=True, exist_ok=True)
        if "server" in self.roles:
            self._start_server()
        if "worker" in self.roles:
            self._start_workers()
        if "studio" in self.roles:
            self._start_studio()
        save_services(self.settings, self.services)
        self.keeper.duties.append(Duty(self._write_card, machines.WRITE_SECONDS))

    def _start_server(self) -> None:
        cluster_parts.reach_redis(self.settings)
        variables = environment.cluster_environment(self.settings, self.ports[0].number)
        cluster_parts.upgrade_database(self.settings, variables)
        children = []
        for number, port in enumerate(self.ports):
            command = environment.server_command(self.settings, port.number, services=False)
            told = environment.cluster_environment(self.settings, port.number)
            children.append((self._child(f"api-{number}", command, told), self._api(f"{self._local(port)}")))
        for child, _ in children:
            self.keeper.start(child, stop_seconds=SERVER_STOP_SECONDS, needed=True)
        services = self._child("services", environment.background_command(), variables)
        self.keeper.start(services, stop_seconds=SERVER_STOP_SECONDS, needed=True)
        for child, api in children:
            child.wait_until(api.ready, START_SECONDS)
        ensure_pool(self._api(self._address(), STARTING_PATIENCE_SECONDS), environment.POOL)
        make_deployments(self.settings, variables, self._say)
        self.keeper.duties += server_duties(self.settings, self._api(self._address()))

    def _start_workers(self) -> None:
        api = self._api(self._address(), STARTING_PATIENCE_SECONDS)
        ensure_pool(api, self.settings.pool)
        for one in self.workers:
            # All before the first starts: what is taken up may be of any worker of this machine, also of one that has just begun.
            for line in prepare_worker(api, one):
                self._say(line)
        for one in self.workers:
            child = worker_child(one, f"{self._address()}/api", joined=True)
            self.keeper.start(child, stop_seconds=WORKER_STOP_SECONDS)
        short = self._api(self._address())
        self.keeper.duties.append(Duty(lambda: put_right(short, self.settings), RECONCILE_SECONDS))

    def _start_studio(self) -> None:
        assert self._studio_port is not None
        port = self._studio_port.number
        told = environment.joined_environment(self.settings, f"{self._address()}/api")
        child = self._child("studio", environment.studio_command(port), told)
        self.keeper.start(child, stop_seconds=STUDIO_STOP_SECONDS)
        child.wait_until(lambda: _answers(f"{environment.local_url(self.settings, port)}/healthz"), START_SECONDS)

    def _child(self, name: str, command: list[str], variables: dict[str, str]) -> Child:
        return Child(name, command, variables, PROJECT, log_folder(self.settings) / f"{name}.log")

    def _local(self, port: Port) -> str:
        return environment.local_url(self.settings, port.number)

    def _write_card(self) -> list[str]:
        workers = {environment.worker_name(one): one for one in self.workers}
        machines.write_card(self.settings, self._api(self._address()), self.roles, workers)
        return []

    def stop(self) -> None:
        """Ends it all: studio and workers first, so that running stages save; the server last."""
        self.keeper.stop()
        if "worker" in self.roles and "server" not in self.roles:  # its own server has ended by now
            self._give_back()
        (self.settings.root / "services.json").unlink(missing_ok=True)
        for port in [*self.ports, *([self._studio_port] if self._studio_port else [])]:
            port.close()

    def _give_back(self) -> None:
        try:
            for line in give_back(self._api(self._address()), self.settings):
                self._say(line)
        except FlenwheelError as error:
            self._say(f"What it worked at goes on elsewhere after the lease: {error.message}")


def run_cluster_machine(
    settings: Settings,
    say: Say,
    *,
    server: bool,
    join: str | None,
    studio: bool,
    prepare: Callable[[], None] = lambda: None,
) -> None:
    """Until Ctrl-C or SIGTERM. `prepare` comes first, when it is known that the settings are such that the machine can start."""
    with sole_owner(settings):
        machine = ClusterMachine(settings, say, server=server, join=join, studio=studio)
        machine.keeper.listen()
        try:
            prepare()
            machine.start()
            machine.keeper.started()
            for line in _ready(machine):
                say(line)
            machine.keeper.run()
        finally:
            machine.stop()


def _ready(machine: ClusterMachine) -> list[str]:
    lines = [f"  machine   {machine.settings.machine_name}: {', '.join(machine.roles)}"]
    if "server" in machine.roles:
        ports = ", ".join(str(port.number) for port in machine.ports)
        lines.append(f"  Prefect   {machine.services.interface_url} (API servers on ports {ports})")
    else:
        lines.append(f"  server    {machine.settings.server_url}")
    if machine.services.studio_url is not None:
        lines.append(f"  studio    {machine.services.studio_url}")
    lines += [f"  GPU slot  {slot.name}, pool {one.pool}" for one in machine.workers for slot in slots_named(one)]
    return [
        *lines,
        f"  pictures  {machine.settings.store_url}",
        f"  logs      {machine.services.logs}",
        "Ready. Ctrl-C stops this machine's part.",
    ]


def _given(settings: Settings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in type(settings).model_fields}


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code in (200, 503)
    except httpx.TransportError:
        return False
