"""The environment of the processes that `flenwheel up` starts: a Prefect of the workspace's own, and this machine's settings."""

import os
import sys
import uuid
from pathlib import Path

from deployments.prefect.api import USER
from deployments.prefect.project import DEPLOYMENTS, NO_SERVICES, PROJECT
from deployments.workspace.cluster_parts import parts_environment
from flenwheel_core.base.settings import CLUSTER_SECRETS, Settings

POOL = "flenwheel"
QUERY_SECONDS = 1
RUNS_AT_ONCE = 2
"""Of a worker of a cluster that is told nothing else: one run holds the card while the other reads its pictures."""


def local_url(settings: Settings, port: int) -> str:
    """The address of a port of this workspace, for processes of this machine."""
    every = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
    host = every.get(settings.host, settings.host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def prefect_environment(settings: Settings, port: int) -> dict[str, str]:
    """Settings of the workspace's own Prefect; nothing of the user's other Prefect profiles is read or changed."""
    home = settings.root / "prefect"
    here = local_url(settings, port)
    found = {
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_API_URL": f"{here}/api",
        "PREFECT_SERVER_API_HOST": settings.host,
        "PREFECT_SERVER_API_PORT": str(port),
        # The interface asks the address it was opened at, whatever this machine is called elsewhere.
        "PREFECT_SERVER_UI_API_URL": "/api",
        "PREFECT_UI_URL": settings.prefect_url or here,
        # The default invites the pages of every site.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": settings.prefect_url or here,
        # The default keeps leases in the server's memory: a restart would crash every holder and leak its slot.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # A gate waits without a limit. By default every waiting run is read each five seconds, in search of one that waited too long.
        "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_LOOP_SECONDS": "300",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "DO_NOT_TRACK": "1",
        # A busy database asks back in a fraction of a second (deployments/prefect/server.py), a server that restarts takes ten.
        "PREFECT_CLIENT_MAX_RETRIES": "8",
        "PREFECT_WORKER_QUERY_SECONDS": str(QUERY_SECONDS),
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "storage"),
        # A run that is told to stop is scheduled again; the next worker goes on with it.
        "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "reschedule",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_CLI_COLORS": "false",
    }
    if settings.token is not None:
        secret = f"{USER}:{settings.token.get_secret_value()}"
        found |= {"PREFECT_API_AUTH_STRING": secret, "PREFECT_SERVER_API_AUTH_STRING": secret}
    return found


def service_environment(settings: Settings, port: int) -> dict[str, str]:
    """The whole environment of a service."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "FLENWHEEL_"))}
    paths = [str(PROJECT), *([kept["PYTHONPATH"]] if "PYTHONPATH" in kept else [])]
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    fixed = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "FLENWHEEL_PROJECT": str(PROJECT)}
    return kept | fixed | settings.environment() | prefect_environment(settings, port)


def cluster_environment(settings: Settings, port: int) -> dict[str, str]:
    """The environment of a cluster's server: like that of a workspace, but nothing is kept on this machine or in one process."""
    return service_environment(settings, port) | parts_environment(settings)


def joined_environment(settings: Settings, api_url: str) -> dict[str, str]:
    """The environment of a service of this machine that works for the server at `api_url`; it is not told where that keeps its data."""
    kept = settings.model_copy(update=dict.fromkeys(CLUSTER_SECRETS))
    beat = str(max(1, int(settings.lease_seconds / 4)))
    told = {"PREFECT_API_URL": api_url, "PREFECT_WORKER_HEARTBEAT_SECONDS": beat}
    return service_environment(kept, 0) | (told if settings.server_url else {"PREFECT_API_URL": api_url})


def background_command() -> list[str]:
    """Prefect's background services, in a process of their own."""
    return [sys.executable, "-m", "prefect", "server", "services", "start"]


def server_command(settings: Settings, port: int, *, services: bool = True) -> list[str]:
    command = [sys.executable, "-m", "deployments.prefect.server", settings.host, str(port)]
    return command if services else [*command, NO_SERVICES]


def worker_name(settings: Settings) -> str:
    """The name of this workspace's own worker, or of that of a card: the same after every restart, and no other worker's."""
    own = "worker-name" if settings.gpu in ("auto", "cpu") else f"worker-name-{settings.gpu.replace('/', '-')}"
    path = settings.root / own
    if not path.exists():
        settings.root.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{settings.machine_name}-{uuid.uuid4()}")
    return path.read_text()


def worker_names(settings: Settings) -> set[str]:
    """The names of all workers that this workspace has had."""
    return {worker_name(settings), *(path.read_text() for path in settings.root.glob("worker-name*"))}


def worker_command(settings: Settings) -> list[str]:
    """The worker of a machine alone: it takes all runs at once, and they wait for the card in no order, unless a limit is set."""
    if settings.runs_at_once is not None:
        return _limited_worker(settings, POOL, settings.runs_at_once)
    return [sys.executable, "-m", "prefect", *_worker(settings, POOL)]


def joined_worker_command(settings: Settings) -> list[str]:
    """A worker that leaves runs to others: it takes no more than it can soon work at."""
    return _limited_worker(settings, settings.pool, settings.runs_at_once or RUNS_AT_ONCE)


def _limited_worker(settings: Settings, pool: str, limit: int) -> list[str]:
    command = [sys.executable, "-m", "deployments.prefect.worker", *_worker(settings, pool)]
    return [*command, "--limit", str(limit)]


def _worker(settings: Settings, pool: str) -> list[str]:
    name = worker_name(settings)
    return ["worker", "start", "--pool", pool, "--type", "process", "--name", name]


def studio_command(port: int) -> list[str]:
    return [sys.executable, "-m", "deployments.studio.serve", str(port)]


def deploy_command(file: Path = DEPLOYMENTS) -> list[str]:
    """Applies prefect.yaml."""
    return [sys.executable, "-m", "deployments.prefect.deploying", str(file)]
