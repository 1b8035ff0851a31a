"""A whole cluster on this machine: Postgres, Redis, an object store, a server of two API processes, machines that work, and a studio.

Every "machine" is a `flenwheel up` of its own, with a name and a workspace folder of its own, which reaches the server through a gateway of
its own, as over a cable that can be cut. They share nothing else but the object store.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.kit.cluster_services import (
    BUCKET,
    ObjectStore,
    Postgres,
    Redis,
    start_object_store,
    start_postgres,
    start_redis,
)
from benchmarks.kit.gateway import Gateway
from benchmarks.kit.processes import processes_with
from benchmarks.kit.workspace import PROJECT, STOP_SECONDS, wait_for, write_recipe
from deployments.prefect.api import PrefectApi
from flenwheel_core.base.processes import ended_with_parent
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.nano.demo import FIRST_HELD_OUT_SEED, write_sources
from flenwheel_core.plans.source_files import keep_files, sources_in
from flenwheel_core.requests.ingest import SourceFile
from flenwheel_core.store import Store

READY = b"Ready."


@dataclass
class Machine:
    """One `flenwheel up` with options."""

    settings: Settings
    options: Sequence[str]
    stage_seconds: float = 0.0
    gateway: Gateway | None = None
    process: "subprocess.Popen[bytes] | None" = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.settings.root.mkdir(parents=True, exist_ok=True)
        self.log = self.settings.root / "up.log"

    @property
    def name(self) -> str:
        return self.settings.machine_name

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "FLENWHEEL_"))}
        more = {
            "PYTHONPATH": str(PROJECT),
            "TURN_STAGES_SECONDS": str(self.stage_seconds),
            "OMP_NUM_THREADS": "1",
        }
        return kept | more | self.settings.environment()

    def start(self, seconds: float = 300) -> None:
        """Starts it and waits until it is ready."""
        began = self.log.stat().st_size if self.log.exists() else 0
        self.begin()

        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.said()
            return READY in self.log.read_bytes()[began:]

        wait_for(ready, seconds, self.said)

    def begin(self) -> None:
        """Starts it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deployments.cli.app", "up", *self.options],
                env=self.environment(),
                cwd=self.settings.root,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=ended_with_parent(),
            )

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A `flenwheel` command on this machine."""
        return subprocess.run(
            [sys.executable, "-m", "deployments.cli.app", *arguments],
            env=self.environment(),
            cwd=self.settings.root,
            capture_output=True,
            text=True,
            check=False,
        )

    def said(self) -> str:
        logs = [self.log, *sorted((self.settings.root / "logs").glob("*.log"))]
        return "\n".join(f"--- {path}\n{path.read_text(errors='replace')[-3000:]}" for path in logs if path.exists())

    def processes(self) -> list[int]:
        """All processes of this machine that live: whatever has its workspace in its environment."""
        return processes_with("FLENWHEEL_WORKSPACE", self.settings.root)

    def signal(self, number: int) -> None:
        """To all its processes: SIGKILL is a power cut, SIGSTOP and SIGCONT a machine that stood still."""
        for pid in self.processes():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def cut_power(self) -> None:
        """Kills everything of it, until nothing is left."""
        while self.processes():
            self.signal(signal.SIGKILL)
            if self.process is not None:
                self.process.wait()
            time.sleep(0.1)

    def stop(self) -> None:
        """SIGTERM, as Ctrl-C."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(STOP_SECONDS)


@dataclass
class Cluster:
    """All of it."""

    folder: Path
    postgres: Postgres
    redis: Redis
    objects: ObjectStore
    lease_seconds: float
    stage_seconds: float
    recipe: Path = field(init=False)
    server: Machine = field(init=False)
    workers: list[Machine] = field(default_factory=list)
    second_server: Machine | None = None
    studio: Machine | None = None
    gateways: list[Gateway] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    prefix: str = "store"
    stage_modules: tuple[str, ...] = ("benchmarks.kit.turn_stages",)

    def __post_init__(self) -> None:
        self.recipe = write_recipe(self.folder, steps=30)
        self.server = self._server("server")

    def settings(self, name: str, **more: object) -> Settings:
        """Of a machine of this name."""
        values: dict[str, object] = {
            "workspace": self.folder / name,
            "machine_name": name,
            "gpu": "cpu",
            "author": name,
            "store": f"s3://{BUCKET}/{self.prefix}",
            "store_options": self.objects.options,
            "models": self.folder / "models",
            "stage_modules": self.stage_modules,
            "lease_seconds": self.lease_seconds,
            "checkpoint_minutes": 0.05,
            "import_ahead": False,  # the stand-ins need none of what stages import
        }
        return Settings.model_validate({**values, **more})

    def _server(self, name: str) -> Machine:
        parts = {"database_url": self.postgres.url, "redis_url": self.redis.url, "api_servers": 2}
        return Machine(self.settings(name, **parts), ["--server"])

    def start_server(self) -> None:
        self.server.start()
        self.ports = _ports_of(self.server)

    def add_server(self, name: str = "server-2") -> Machine:
        """Starts another machine with a server, and every way to the servers leads to it, too."""
        self.second_server = self._server(name)
        self.second_server.start()
        more = _ports_of(self.second_server)
        self.ports += more
        for gateway in self.gateways:
            gateway.add(more)
        return self.second_server

    def gateway(self) -> Gateway:
        """A way to the server that is nobody else's."""
        self.gateways.append(Gateway(self.ports))
        return self.gateways[-1]

    def add_worker(self, name: str, **more: object) -> Machine:
        """A machine that is about to join."""
        gateway = self.gateway()
        machine = Machine(self.settings(name, **more), ["--join", gateway.url], self.stage_seconds, gateway)
        self.workers.append(machine)
        return machine

    def add_studio(self, name: str = "desk") -> Machine:
        gateway = self.gateway()
        self.studio = Machine(self.settings(name, server_url=gateway.url), ["--studio"], gateway=gateway)
        return self.studio

    @property
    def store(self) -> Store:
        return Store(f"s3://{BUCKET}/{self.prefix}", self.objects.options)

    def api(self, patience_seconds: float = 20.0) -> PrefectApi:
        gateway = self.gateways[0] if self.gateways else self.gateway()
        return PrefectApi(f"{gateway.url}/api", patience_seconds=patience_seconds)

    def add_character(self, name: str, pictures: int = 10) -> None:
        library = Library(self.store)
        library.create_character(
            Character(name=name, trigger="ohwx_char", class_word="person", kind="person", recipe=str(self.recipe))
        )
        if self.stage_modules:
            digests = [self.store.put_blob(f"{name} {number}".encode()) for number in range(pictures)]
            files = [
                SourceFile(name=f"{number}.png", digest=one, caption="a photo") for number, one in enumerate(digests)
            ]
            library.add_sources(name, tuple(files))
        else:
            library.add_sources(name, self._drawn(name))

    def _drawn(self, name: str) -> tuple[SourceFile, ...]:
        """Pictures of a character of the nano world, another one for each name."""
        folder = self.folder / "sources" / name
        seed = FIRST_HELD_OUT_SEED + len(list(folder.parent.glob("*")))
        write_sources(folder, seed, trigger="ohwx_char", class_word="person")
        return keep_files(self.store, sources_in(folder)).files

    def empty_store(self) -> None:
        """As if nothing had ever been done: nothing of it is in the store, on the machines, or in the studio's memory."""
        for folder in ("blobs", "tables", "stages", "documents", "journals"):
            for path in list(self.store.files.list(folder)):
                self.store.files.delete(path)
        for machine in self.workers:
            shutil.rmtree(machine.settings.scratch, ignore_errors=True)
        if self.studio is not None:
            self.studio.stop()
            self.studio.start()

    def use_recipe(self, name: str) -> None:
        """Characters get a real recipe, and machines that are added later real stages."""
        self.recipe, self.stage_modules = Path(name), ()

    def living_workers(self) -> set[str]:
        """Workers that the server hears from."""
        return self.api().living_workers("flenwheel")

    def machines(self) -> list[Machine]:
        others = [one for one in (self.studio, self.second_server) if one is not None]
        return [*self.workers, *others, self.server]

    def said(self) -> str:
        return "\n".join(machine.said() for machine in self.machines())

    def stop(self) -> None:
        """Ends everything; what does not end is killed."""
        for machine in self.machines():
            machine.signal(signal.SIGCONT)
        for machine in self.machines():
            with suppress(subprocess.TimeoutExpired):
                machine.stop()
            machine.cut_power()
        for gateway in self.gateways:
            gateway.close()
        for service in (self.objects, self.redis, self.postgres):
            service.stop()


def _ports_of(server: Machine) -> list[int]:
    said = server.log.read_text().rpartition("API servers on ports ")[2].partition(")")[0]
    return [int(port) for port in said.split(", ")]


@contextmanager
def cluster(
    *, lease_seconds: float = 12.0, stage_seconds: float = 0.0, folder: Path | None = None, rclone: Path | None = None
) -> Iterator[Cluster]:
    """Postgres, Redis and the object store run; the machines are the caller's to start. All of it ends with the block.

    `rclone`: the program that serves the objects in place of moto.
    """
    place = folder or Path(tempfile.mkdtemp(prefix="flenwheel-cluster-"))
    postgres = start_postgres()
    try:
        redis, objects = start_redis(place / "redis"), start_object_store(place / "objects", rclone)
        found = Cluster(place, postgres, redis, objects, lease_seconds, stage_seconds)
        try:
            yield found
        finally:
            found.stop()
    finally:
        postgres.stop()
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)
