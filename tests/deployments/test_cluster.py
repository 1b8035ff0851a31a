"""A real cluster: Postgres, Redis, an object store, two API servers, two machines and a studio, of which some die."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.kit.cluster import Cluster, Machine, cluster
from benchmarks.kit.workspace import PROJECT, wait_for
from deployments.prefect.gates import resume_gate, waiting_runs
from flenwheel_core.base.services import load_services
from flenwheel_core.gates.session import Reviews
from flenwheel_core.library.machines import read_cards
from flenwheel_core.runner.stage_runs import StageRun, stage_runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    with cluster(lease_seconds=15, stage_seconds=0.15) as found:
        found.start_server()
        for name in ("rack-1", "rack-2"):
            found.add_worker(name).begin()
        found.add_studio().begin()
        for machine in found.machines()[:-1]:
            wait_for(lambda machine=machine: b"Ready." in machine.log.read_bytes(), 300, found.said)  # type: ignore[misc]
        yield found


def test_a_run_of_a_machine_that_lost_power_goes_on_elsewhere_from_its_checkpoint(running: Cluster) -> None:
    running.add_character("mira")
    api, reviews = running.api(), Reviews(running.store)
    assert running.studio is not None
    told = running.studio.command("run", "mira")
    assert told.returncode == 0, told.stderr
    (run,) = [one.id for one in api.runs()]
    gate = _gate(running, "mira-t1-gate-a")
    closed = reviews.close(gate, "approve", "take_passed", override_minimum=True, reviewer="ana")
    resume_gate(api, run, closed)
    wait_for(lambda: bool(_states(running)), 240, running.said)
    worker = api.run(run).worker or ""
    first, second = sorted(running.workers, key=lambda machine: not worker.startswith(machine.name))
    first.cut_power()
    assert first.processes() == []
    _gate(running, "mira-t1-gate-b")
    found = api.run(run)
    assert (found.worker or "").startswith(second.name), running.said()
    taken_back = [line for line in running.server.log.read_text().splitlines() if "goes on elsewhere" in line]
    assert len([line for line in taken_back if run in line and first.name in line]) == 1, "once"
    trainings = [line for line in stage_runs(running.store).read() if line.stage == "train"]
    assert [(line.host, line.event) for line in trainings] == [
        (first.name, "started"),
        (second.name, "started"),
        (second.name, "finished"),
    ]
    assert not _states(running), "the result is there"
    first.begin()


def test_every_part_is_as_it_must_be_and_the_doctor_says_so(running: Cluster) -> None:
    wait_for(lambda: len(read_cards(running.store)) == 4, 240, running.said)
    assert running.studio is not None
    for machine in (running.server, running.studio):
        told = machine.command("doctor")
        assert told.returncode == 0, told.stdout + told.stderr
        for name in ("lease storage: prefect_redis", "order of events: prefect_redis", "docket: redis://"):
            assert name in told.stdout
        assert "conditional writes" in told.stdout and "the same versions on 4 machines" in told.stdout
        assert "machine rack-2: worker; rack-2:cpu" in told.stdout
    assert "Postgres" in running.server.command("doctor").stdout


def test_a_cut_off_machine_loses_its_run_and_leaves_it_when_it_is_back(running: Cluster) -> None:
    running.add_character("nora")
    api = running.api()
    wait_for(lambda: len(running.living_workers()) == 2, 240, running.said)
    run = api.start("flywheel-1/turn", {"character": "nora"}).id
    wait_for(lambda: api.run(run).worker is not None and bool(_engine(running, run)), 240, running.said)
    (first,) = [machine for machine in running.workers if (api.run(run).worker or "").startswith(machine.name)]
    (second,) = [machine for machine in running.workers if machine is not first]
    (engine,) = _engine(running, run)
    first.signal(signal.SIGSTOP)  # longer than its lease, and then it goes on as if nothing had been
    wait_for(lambda: (api.run(run).worker or "").startswith(second.name), 240, running.said)
    first.signal(signal.SIGCONT)
    wait_for(lambda: engine not in first.processes(), 240, running.said)
    assert (api.run(run).worker or "").startswith(second.name)


def test_the_studio_serves_and_servers_that_die_are_started_again(running: Cluster) -> None:
    assert running.studio is not None
    services = load_services(running.studio.settings)
    assert services is not None and httpx.get(f"{services.studio_url}/healthz").status_code == 200
    before = set(running.server.processes())
    victims = [pid for pid in before if b"deployments.prefect.server" in _command(pid)]
    assert len(victims) == 2, "two API servers"
    os.kill(victims[0], signal.SIGKILL)
    assert running.api().heartbeats(), "the other one answers meanwhile"
    said = running.server.log
    wait_for(lambda: "ended unexpectedly; starting it again" in said.read_text(), 240, running.said)


def test_work_goes_on_when_postgres_and_redis_were_killed(running: Cluster) -> None:
    running.redis.kill()
    running.postgres.kill()
    running.redis.start()
    running.postgres.start()
    running.add_character("zoe")
    api = running.api(60)
    wait_for(api.ready, 240, running.said)
    run = api.start("flywheel-1/turn", {"character": "zoe"}).id
    wait_for(lambda: _engine(running, run) != [], 240, running.said)


def test_a_slurm_job_is_a_machine_and_ends_cleanly_when_its_time_is_over(running: Cluster) -> None:
    """The script is what Slurm would run, with the variables that Slurm sets."""
    place = running.folder / "slurm"
    place.mkdir()
    given = running.settings("any", server_url=running.gateways[0].url).environment()
    for name in ("MACHINE_NAME", "WORKSPACE"):
        del given[f"FLENWHEEL_{name}"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    slurm = {
        "SLURM_JOB_ID": "7",
        "SLURMD_NODENAME": "node-3",
        "SLURM_TMPDIR": str(place),
        "PATH": path,
        "RECIPE": str(running.recipe),
    }
    log = place / "log"
    with log.open("wb") as out:
        script = PROJECT / "deployments" / "templates" / "slurm.sbatch"
        environment = os.environ | {"PYTHONPATH": str(PROJECT)} | given | slurm
        job = subprocess.Popen(["bash", str(script)], cwd=place, env=environment, stdout=out, stderr=out)
    wait_for(lambda: any(name.startswith("node-3-7") for name in running.living_workers()), 300, log.read_text)
    assert "GPU slot  node-3-7-0:cpu" in log.read_text().partition("All models of this recipe are here.")[2]
    job.terminate()
    assert job.wait(120) == 0, log.read_text()
    assert "Stopped." in log.read_text() and [path.name for path in place.iterdir()] == ["log"]


def test_a_second_server_takes_over_when_the_first_ones_machine_is_gone(running: Cluster) -> None:
    """The first one's API servers, its watch over machines and its search for answers end with its machine, while a run works."""
    second = running.add_server()
    running.add_character("otto")
    api = running.api(60)
    wait_for(lambda: {"rack-1", "rack-2"} <= _machines(running), 240, running.said)
    run = api.start("flywheel-1/turn", {"character": "otto"}).id
    wait_for(lambda: _engine(running, run) != [], 240, running.said)
    running.server.cut_power()
    assert running.server.processes() == []
    gate = _gate(running, "otto-t1-gate-a")
    # Its own machine goes on with it meanwhile; where one was so busy that it was silent for the lease, a log says who had the run.
    moved = _taken_back(running.server, run) + _taken_back(second, run)
    assert len({line.host for line in _stages(running, run)}) <= 1 + len(moved), moved
    Reviews(running.store).close(gate, "approve", "take_passed", override_minimum=True, reviewer="ana")
    wait_for(
        lambda: bool(_states(running)), 240, running.said
    )  # nobody told the run of its answer but the second server
    (busy,) = [machine for machine in running.workers if (api.run(run).worker or "").startswith(machine.name)]
    before = len(_taken_back(second, run))
    busy.cut_power()
    last = _gate(running, "otto-t1-gate-b")
    taken_back = [line for line in _taken_back(second, run)[before:] if busy.name in line]
    assert len(taken_back) == 1, "the second server, once"
    Reviews(running.store).close(last, "stop", "take_passed", override_minimum=True, reviewer="ana")
    wait_for(lambda: _state(running, run) == "COMPLETED", 240, running.said)
    assert second.process is not None and second.process.poll() is None and running.server.processes() == []


def _taken_back(server: Machine, run: str) -> list[str]:
    """What a server says of a machine that lost this run."""
    return [line for line in server.log.read_text().splitlines() if "goes on elsewhere" in line and run in line]


def _state(running: Cluster, run: str) -> str:
    state = running.api().run(run).state
    return "" if state is None else state.type


def _machines(running: Cluster) -> set[str]:
    return {
        machine.name
        for machine in running.workers
        for worker in running.living_workers()
        if worker.startswith(machine.name)
    }


def _stages(running: Cluster, run: str) -> list[StageRun]:
    return [line for line in stage_runs(running.store).read() if line.flow_run == run]


def _states(running: Cluster) -> list[str]:
    return [path for path in running.store.files.list("stages/train") if "/states/" in path]


def _gate(running: Cluster, beginning: str) -> str:
    found: list[str] = []

    def there() -> bool:
        found[:] = [gate for gate in waiting_runs(running.api()) if gate.startswith(beginning)]
        return bool(found)

    wait_for(there, 300, running.said)
    return found[0]


def _engine(running: Cluster, run: str) -> list[int]:
    mark = f"PREFECT__FLOW_RUN_ID={run}".encode()
    found = []
    for machine in running.workers:
        for pid in machine.processes():
            try:
                variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if mark in variables and b"deployments.prefect.engine" in _command(pid):
                found.append(pid)
    return found


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
