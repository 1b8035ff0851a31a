"""The environment of the processes that `flenwheel up` starts: a Prefect of the workspace's own, and this machine's settings."""

import os
import socket
import sys
import uuid
from pathlib import Path

from deployments.prefect.api import USER
from deployments.prefect.project import DEPLOYMENTS, PROJECT
from flenwheel_core.base.settings import Settings

POOL = "flenwheel"
QUERY_SECONDS = 1


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


def server_command(settings: Settings, port: int) -> list[str]:
    return [sys.executable, "-m", "deployments.prefect.server", settings.host, str(port)]


def worker_name(settings: Settings) -> str:
    """The name of this workspace's own worker: the same after every restart, and no other worker's."""
    path = settings.root / "worker-name"
    if not path.exists():
        settings.root.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{socket.gethostname()}-{uuid.uuid4()}")
    return path.read_text()


def worker_command(settings: Settings) -> list[str]:
    name = worker_name(settings)
    return [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", name]


def studio_command(port: int) -> list[str]:
    return [sys.executable, "-m", "deployments.studio.serve", str(port)]


def deploy_command(file: Path = DEPLOYMENTS) -> list[str]:
    """Applies prefect.yaml."""
    return [sys.executable, "-m", "deployments.prefect.deploying", str(file)]
