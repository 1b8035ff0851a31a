"""The template for Slurm, run by a real Slurm of one node: jobs take runs of a real cluster, and give them back when they must end."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kit.cluster import Cluster, cluster
from benchmarks.kit.slurm import CARDS, NODE, TRIED, NoSlurmError, Slurm, programs, slurm
from benchmarks.kit.workspace import PROJECT, wait_for
from flenwheel_core.runner.stage_runs import stage_runs

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]
TEMPLATE = PROJECT / "deployments" / "templates" / "slurm.sbatch"
WARNED_SECONDS = 120
"""The template's `--signal`."""
LOOK_SECONDS = 30
"""Slurm looks so often whose time is over."""
ITEM_SECONDS = 8.0
"""A stage of a dozen items works for longer than Slurm takes to look."""
LEASE_SECONDS = 600.0
"""Longer than the test: what goes on elsewhere was given back, and not taken from a silent machine."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    try:
        found = programs()
    except NoSlurmError as error:
        pytest.skip(str(error))
    running = Slurm(tmp_path_factory.mktemp("slurm"), found)
    with slurm(running) as reason:
        if reason and not found.version.startswith(TRIED):
            pytest.skip(f"Tried with Slurm {TRIED}; here is {found.version}. {reason}")
        assert not reason, reason
        yield running


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    with cluster(lease_seconds=LEASE_SECONDS) as found:
        found.start_server()
        yield found


class Jobs:
    """The template, submitted as an array: one job for each card of the node."""

    def __init__(self, nodes: Slurm, running: Cluster) -> None:
        self._nodes = nodes
        self._running = running
        self.folder = running.folder / "jobs"
        self.folder.mkdir()
        given = running.settings("any", server_url=running.gateway().url, gpu="auto").environment()
        for name in ("MACHINE_NAME", "WORKSPACE"):
            del given[f"FLENWHEEL_{name}"]
        more = given | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT),
            "TMPDIR": str(self.folder),
            "TURN_STAGES_SECONDS": str(ITEM_SECONDS),
            "OMP_NUM_THREADS": "1",
            "RECIPE": str(running.recipe),
        }
        self.number = nodes.submit(TEMPLATE, f"--array=0-{CARDS - 1}", more=more, folder=self.folder)
        self.machines = {f"{NODE}-{self.number}-{task}": f"{self.number}_{task}" for task in range(CARDS)}

    def living(self) -> set[str]:
        workers = self._running.living_workers()
        return {name for name in self.machines if any(worker.startswith(f"{name}-") for worker in workers)}

    def log(self, machine: str) -> str:
        return (self.folder / f"slurm-{self.machines[machine]}.out").read_text(errors="replace")

    def wait_for_end(self, machine: str) -> str:
        """Slurm's word for how it ended, and the exit code."""
        known: dict[str, str] = {}

        def ended() -> bool:
            known.update(self._nodes.job(self.machines[machine]))
            return known["JobState"] not in ("RUNNING", "COMPLETING")

        wait_for(ended, 300, self.said)
        return f"{known['JobState']} {known['ExitCode']}"

    def said(self) -> str:
        logs = [*self.folder.glob("slurm-*.out"), *self.folder.glob("flenwheel-*/logs/*.log")]
        texts = [f"--- {path}\n{path.read_text(errors='replace')[-3000:]}" for path in sorted(logs)]
        return "\n".join([*texts, self._nodes.said(), self._running.said()])


def test_a_job_gives_its_runs_back_before_its_time_is_over_and_when_it_is_told_to_end(
    nodes: Slurm, running: Cluster
) -> None:
    running.add_character("mira")
    jobs, api = Jobs(nodes, running), running.api(60)
    wait_for(lambda: len(jobs.living()) == CARDS, 300, jobs.said)
    for card, machine in enumerate(jobs.machines):
        told = jobs.log(machine).partition("All models of this recipe are here.")[2]
        assert f"GPU slot  {machine}:{card}" in told, "the card that Slurm lent"
    run = api.start("flywheel-1/turn", {"character": "mira"}).id

    def at_work() -> set[str]:
        return {line.host for line in stage_runs(running.store).read() if line.stage == "enrich"}

    wait_for(lambda: bool(at_work()), 240, jobs.said)
    (first,) = at_work()
    (second,) = set(jobs.machines) - {first}
    # Slurm counts whole minutes: the job's time is over soon after the warning, so that the warning comes at Slurm's next look.
    hours, minutes, seconds = (int(part) for part in nodes.job(jobs.machines[first])["RunTime"].split(":"))
    limit = (hours * 3600 + minutes * 60 + seconds + WARNED_SECONDS + LOOK_SECONDS) // 60
    nodes.run("scontrol", "update", f"jobid={jobs.machines[first]}", f"timelimit={limit}")
    assert jobs.wait_for_end(first) == "COMPLETED 0:0", jobs.said()
    assert f"({run}): given back" in jobs.log(first) and jobs.log(first).endswith("Stopped.\n")
    wait_for(lambda: second in at_work(), 240, jobs.said)
    assert (api.run(run).worker or "").startswith(f"{second}-")
    nodes.run("scancel", "--batch", "--signal=TERM", jobs.machines[second])
    assert jobs.wait_for_end(second) == "COMPLETED 0:0", jobs.said()
    assert f"({run}): given back" in jobs.log(second), jobs.said()
    state = api.run(run).state
    assert state is not None and state.type == "SCHEDULED", "nobody is left who could take it"
    assert [path.name for path in jobs.folder.glob("flenwheel-*") if path.name != "flenwheel-locks"] == []
