"""Two processes that share every batch end where one process with the whole batch ends, each with a folder of its own."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from flenwheel_core.engine.checkpoint import CheckpointFolder
from flenwheel_core.engine.loop import LoopOutcome, run_loop
from flenwheel_core.engine.randomness import normal
from flenwheel_core.engine.team import Alone, Processes, Team
from flenwheel_core.engine.tensor_file import read_tensors, tensor_bytes
from flenwheel_core.recipes.train import SamplingRecipe, TrainingRecipe

RECIPE = TrainingRecipe(
    steps=12,
    learning_rate=0.05,
    warmup_steps=2,
    checkpoint_every=5,
    log_every=3,
    sampling=SamplingRecipe(every_steps=0),
)
ROWS = 8


class Line:
    """Fits a matrix; each process takes every `size`-th row of the batch."""

    def __init__(self, team: Team) -> None:
        self.weight = torch.nn.Parameter(normal((4, 4), 0, "start"))
        self._truth = normal((4, 4), 0, "truth")
        self._team = team

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        return {"weight": self.weight}

    def loss(self, index: int) -> torch.Tensor:
        x = normal((ROWS, 4), 0, "x", index)[self._team.rank :: self._team.size]
        return ((x @ (self.weight - self._truth)) ** 2).mean()

    def sample(self, step: int) -> None:
        return


def train(folder: Path, team: Team) -> LoopOutcome:
    return run_loop(
        Line(team),
        RECIPE,
        CheckpointFolder(folder / "checkpoints", "run", 2),
        loss_file=folder / "loss.jsonl",
        trackers=[],
        should_stop=lambda: False,
        on_step=lambda step, loss: None,
        team=team,
    )


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_the_checkpoint_of_the_first(tmp_path: Path) -> None:
    whole = train(tmp_path / "one", Alone())
    # The second one's is of another attempt, and newer: it is not looked at.
    for rank, step in enumerate((5, 10)):
        checkpoints = tmp_path / "two" / str(rank) / "checkpoints"
        checkpoints.mkdir(parents=True)
        shutil.copy(tmp_path / "one" / "checkpoints" / f"step-{step:08d}.safetensors", checkpoints)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-m", "tests.core.engine.test_team", str(tmp_path / "two")]
    root = Path(__file__).resolve().parents[3]
    processes = [
        subprocess.Popen(command, cwd=root, env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    assert [process.wait(timeout=240) for process in processes] == [0, 0]
    shared, _ = read_tensors(tmp_path / "two" / "0" / "weights.safetensors")
    torch.testing.assert_close(shared["weight"], whole.weights["weight"], atol=1e-6, rtol=1e-5)
    assert len((tmp_path / "two" / "0" / "loss.jsonl").read_text().splitlines()) == 4
    assert [path.name for path in (tmp_path / "two" / "1").iterdir()] == ["checkpoints"], "the first one alone writes"


if __name__ == "__main__":
    team = Processes(cpu=True)
    folder = Path(sys.argv[1]) / str(team.rank)
    outcome = train(folder, team)
    if team.rank == 0:
        (folder / "weights.safetensors").write_bytes(tensor_bytes(outcome.weights))
    team.leave()
    sys.stdout.flush()
    os._exit(0)  # as the stage's processes end: gloo's threads may abort an interpreter that shuts down
