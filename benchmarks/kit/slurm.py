"""A real Slurm of one node on loopback, for tests: munged, slurmctld and slurmd as ordinary processes with a folder of their own.

The node claims more processors, memory and cards than this machine has, so that a template for nodes with cards runs as it stands; what a
job takes is counted, not enforced. Its programs are those on the path, or what `make slurm` unpacked.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.kit.cluster_services import free_port
from benchmarks.kit.processes import processes_with
from benchmarks.kit.workspace import PROJECT
from flenwheel_core.base.processes import ended_with_parent

UNPACKED = PROJECT / ".venv" / "slurm"
TRIED = "22.05"
"""The version with which all of this was seen to run."""
NODE = "node-1"
CARDS = 2
START_SECONDS = 120.0


class NoSlurmError(Exception):
    """Slurm cannot be had here; the message says why."""


@dataclass(frozen=True)
class Programs:
    """Slurm's and munge's programs."""

    folders: str
    """As in PATH."""
    libraries: str
    """As in LD_LIBRARY_PATH; empty where the system has them."""
    plugins: Path | None
    """Slurm's own; None where it knows its place."""
    version: str = ""

    def find(self, name: str) -> str:
        """The path of a program. Raises NoSlurmError."""
        found = shutil.which(name, path=self.folders)
        if found is None:
            raise NoSlurmError(f"There is no {name}. Fetch Debian's packages: make slurm")
        return found

    def environment(self) -> dict[str, str]:
        """What this process has, and what they need."""
        given = os.environ.get("LD_LIBRARY_PATH", "")
        path = {"LD_LIBRARY_PATH": ":".join(filter(None, (self.libraries, given)))} if self.libraries else {}
        return {key: value for key, value in os.environ.items() if not key.startswith("SLURM")} | path


def programs() -> Programs:
    """Those of this machine. Raises NoSlurmError if one is missing or does not run."""
    path = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
    found = Programs(path, "", None)
    if shutil.which("slurmctld", path=path) is None:
        libraries = sorted(UNPACKED.glob("usr/lib/*/slurm-wlm"))
        if libraries:
            folders = f"{UNPACKED}/usr/sbin:{UNPACKED}/usr/bin"
            found = Programs(folders, f"{libraries[0].parent}:{libraries[0]}", libraries[0])
    version = ""
    for name in ("munged", "slurmctld", "slurmd", "slurmstepd", "sbatch", "scancel", "squeue", "scontrol", "sinfo"):
        program = found.find(name)
        if name == "slurmctld":
            asked = subprocess.run(
                [program, "-V"], env=found.environment(), capture_output=True, text=True, check=False
            )
            if asked.returncode != 0:
                raise NoSlurmError(f"{program} does not run: {asked.stderr.strip()}")
            version = asked.stdout.split()[-1]
    return Programs(found.folders, found.libraries, found.plugins, version)


@dataclass
class Slurm:
    """The running cluster."""

    folder: Path
    programs: Programs
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def configuration(self) -> Path:
        return self.folder / "slurm.conf"

    def environment(self) -> dict[str, str]:
        return self.programs.environment() | {"SLURM_CONF": str(self.configuration)}

    def run(self, name: str, *arguments: str, more: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
        """What a command of Slurm says."""
        told = subprocess.run(
            [self.programs.find(name), *arguments],
            env=self.environment() | dict(more or {}),
            cwd=folder or self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, f"{name}: {told.stderr}\n{self.said()}"
        return told.stdout.strip()

    def submit(self, script: Path, *options: str, more: Mapping[str, str], folder: Path) -> str:
        """The number of the job; it has these variables and writes into this folder."""
        return self.run("sbatch", "--parsable", *options, str(script), more=more, folder=folder).partition(";")[0]

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job, or of one of an array."""
        words = self.run("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def start(self) -> None:
        """Starts all of it and waits until the node takes jobs. Raises NoSlurmError if it does not come up."""
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(os.urandom(1024))
        for number in range(CARDS):  # by the digits of its name a card gets its number
            (self.folder / f"card{number}").symlink_to("/dev/null")
        self._configure()
        own = {name: f"{self.folder}/munge.{name}" for name in ("socket", "pid", "seed", "log")}
        munge = ["--foreground", "--force", f"--socket={own['socket']}", f"--key-file={key}"]
        munge += [f"--pid-file={own['pid']}", f"--seed-file={own['seed']}", f"--log-file={own['log']}"]
        self._begin("munged", *munge, "--num-threads=2")
        self._until(lambda: Path(own["socket"]).exists())
        self._begin("slurmctld", "-D")
        self._begin("slurmd", "-D", "-d", self.programs.find("slurmstepd"))
        self._until(self._is_idle)

    def _configure(self) -> None:
        user, controller, node = pwd.getpwuid(os.geteuid()).pw_name, free_port(), free_port()
        plugins = "" if self.programs.plugins is None else f"PluginDir={self.programs.plugins}"
        self.configuration.write_text(f"""\
ClusterName=here
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={self.folder}/munge.socket
CredType=cred/munge
{plugins}
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
NodeName={NODE} NodeHostname={socket.gethostname().partition(".")[0]} NodeAddr=127.0.0.1 CPUs=32 RealMemory=200000 Gres=gpu:{CARDS}
PartitionName=main Nodes={NODE} Default=YES MaxTime=INFINITE State=UP
""")
        cards = "".join(f"Name=gpu File={self.folder}/card{number}\n" for number in range(CARDS))
        (self.folder / "gres.conf").write_text(cards)
        newer = tuple(int(part) for part in self.programs.version.split(".")[:2]) >= (23, 2)
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n" if newer else "CgroupPlugin=autodetect\n")

    def _begin(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as log:
            self.started.append(
                subprocess.Popen(
                    [self.programs.find(name), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self.environment(),
                    cwd=self.folder,
                    start_new_session=True,
                    preexec_fn=ended_with_parent(),
                )
            )

    def _is_idle(self) -> bool:
        asked = subprocess.run(
            [self.programs.find("sinfo"), "--noheader", "--format=%t"],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        return asked.stdout.strip() == "idle"

    def _until(self, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + START_SECONDS
        while not ready():
            if any(process.poll() is not None for process in self.started) or time.monotonic() > end:
                raise NoSlurmError(f"Slurm {self.programs.version} does not come up.\n{self.said()}")
            time.sleep(0.1)

    def said(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.out")))

    def processes(self) -> list[int]:
        """All that live and have this cluster's configuration in their environment: its own, and those of its jobs."""
        return processes_with("SLURM_CONF", self.configuration)

    def stop(self) -> None:
        """Ends all of it, and whatever its jobs left."""
        while living := self.processes():
            for pid in living:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            for process in self.started:
                process.wait()
            time.sleep(0.1)


@contextmanager
def slurm(running: Slurm) -> Iterator[str]:
    """Runs for as long as the block, which gets the reason if it does not come up, else an empty one."""
    reason = ""
    try:
        try:
            running.start()
        except NoSlurmError as error:
            reason = str(error)
        yield reason
    finally:
        running.stop()
