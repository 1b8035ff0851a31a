"""One training over two machines as a run: a real server, two workers with a name and a folder each, real stages of the nano world."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.kit.cluster import READY, Machine
from benchmarks.kit.prefect_server import PrefectServer, serve
from benchmarks.kit.workspace import PROJECT, wait_for
from deployments.prefect.api import FlowRun
from deployments.prefect.orders import ensure_pool
from deployments.workspace import environment
from flenwheel_core.base.settings import Settings
from flenwheel_core.requests.train import TrainRequest
from flenwheel_core.runner.stage_runs import StageRun, stage_runs
from flenwheel_core.store import Store
from tasks.share_names import DEPLOYMENT
from tests.kit.bases_world import with_pool
from tests.kit.machines_of_training import machine
from tests.kit.stage_world import HERO

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]

RECIPE = """
extends = "nano"
name = "shared"

[train]
hosts = 2
steps = {steps}
min_epochs = 0.01
batch_size = 1
warmup_steps = 0
log_every = 2
checkpoint_every = 5
prior = {{ method = "off" }}
sampling = {{ every_steps = 0 }}
"""


@dataclass
class Pair:
    """Two machines that work for one server."""

    server: PrefectServer
    machines: list[Machine]

    @property
    def store(self) -> Store:
        return Store(self.machines[0].settings.store_url)

    def active(self) -> dict[str, int]:
        """How many hold each slot."""
        return {limit.name: limit.active_slots for limit in self.server.api.limits()}

    def said(self) -> str:
        runs = [(run.name, run.state and (run.state.name, run.state.message)) for run in self.server.runs()]
        return "\n".join([str(runs), *(one.said() for one in self.machines)])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, prefect_database: Path) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    with serve(folder / "server", database=prefect_database) as server:
        ensure_pool(server.api, environment.POOL)
        own = Settings(workspace=folder / "server", gpu="cpu")
        told = environment.joined_environment(own, f"{server.url}/api")
        subprocess.run(environment.deploy_command(), env=told, cwd=PROJECT, check=True, capture_output=True)
        machines = []
        for name in ("rack-1", "rack-2"):
            # Nobody imports ahead: two cores have enough to do.
            settings = machine(folder, name, models=folder / "models", import_ahead=False)
            machines.append(Machine(settings, ["--join", server.url]))
        try:
            for one in machines:
                one.begin()
            with_pool(machines[0].settings)
            found = Pair(server, machines)
            for one in machines:
                wait_for(lambda one=one: READY in one.log.read_bytes(), 300, found.said)  # type: ignore[misc]
            wait_for(lambda: len(server.api.living_workers(environment.POOL)) == 2, 300, found.said)
            wait_for(lambda: len(list(found.store.files.list("machines"))) == 2, 300, found.said)
            yield found
        finally:
            for one in machines:
                one.cut_power()


FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def started(pair: Pair, folder: Path, steps: int) -> str:
    """A training of so many steps, as a run."""
    recipe = folder / "shared.toml"
    recipe.write_text(RECIPE.format(steps=steps))
    return pair.server.api.start("training/training", {"character": HERO.name, "recipe": str(recipe)}).id


def completed(pair: Pair, run: str) -> FlowRun:
    def over() -> bool:
        state = pair.server.api.run(run).state
        return state is not None and state.type in FINAL

    wait_for(over, 700, pair.said)
    ended = pair.server.api.run(run)
    assert ended.state is not None and ended.state.type == "COMPLETED", pair.said()
    return ended


def last_attempt(lines: list[StageRun]) -> list[StageRun]:
    """Its lines: machines that were too busy for a while may have begun before, and each attempt's share is a request of its own."""
    led = [line for line in lines if line.stage == "train"]
    along = [line for line in lines if line.stage == "train_share"]
    *_, done = (line.request for line in along if line.event == "finished")
    return [*led[-2:], *(line for line in along if line.request == done)]


def test_a_training_takes_a_card_of_each_machine_and_gives_both_back(pair: Pair, tmp_path: Path) -> None:
    api = pair.server.api
    run = started(pair, tmp_path, 6)
    ended = completed(pair, run)
    assert ended.state is not None and "6 steps" in (ended.state.message or "")
    others = [one for one in pair.server.runs() if one.id != run and one.state is not None]
    (share,) = [one for one in others if one.state is not None and one.state.type == "COMPLETED"]
    lines = last_attempt(list(stage_runs(pair.store).read()))
    assert [(line.stage, line.event) for line in lines] == [
        ("train", "started"),
        ("train", "finished"),
        ("train_share", "started"),
        ("train_share", "finished"),
    ]
    hosts = {line.stage: line.host for line in lines}
    assert set(hosts.values()) == {"rack-1", "rack-2"}
    assert (ended.worker or "").startswith(hosts["train"]) and (share.worker or "").startswith(hosts["train_share"])
    assert share.parameters["slot"] == f"{hosts['train_share']}:cpu"
    asked = [pair.store.get_request(TrainRequest, line.request) for line in lines if line.stage == "train"]
    assert asked[0] is not None and asked[0].recipe.hosts == 2
    assert pair.active() == {"gpu:rack-1:cpu": 0, "gpu:rack-2:cpu": 0}
    assert pair.store.files.exists(f"stages/train/{asked[0].key()}/manifest.json")
    assert not pair.store.files.exists(f"stages/train/{asked[0].key()}/meeting.json")
    assert api.call("GET", f"/deployments/name/{DEPLOYMENT}")


def test_a_training_goes_on_when_the_other_machine_lost_its_power_in_between(pair: Pair, tmp_path: Path) -> None:
    before = len(list(stage_runs(pair.store).read()))
    known = {run.id for run in pair.server.runs()}
    run = started(pair, tmp_path, 60)
    wait_for(lambda: any("/states/" in path for path in pair.store.files.list("stages/train")), 500, pair.said)
    (share,) = [
        one
        for one in pair.server.runs()
        if one.id not in {*known, run} and one.state is not None and one.state.type == "RUNNING"
    ]
    (lost,) = [one for one in pair.machines if share.parameters["slot"] == f"{one.name}:cpu"]
    lost.cut_power()
    lost.begin()
    completed(pair, run)
    lines = list(stage_runs(pair.store).read())[before:]
    led = [line for line in lines if line.stage == "train"]
    assert any("LostMemberError" in (line.error or "") for line in led if line.event == "failed")
    assert [line.event for line in last_attempt(lines)] == ["started", "finished"] * 2
    assert len({line.request for line in lines if line.stage == "train_share"}) > 1, "a share of its own each"
    assert pair.active() == {"gpu:rack-1:cpu": 0, "gpu:rack-2:cpu": 0}
