"""The loop that trains the nano models: it learns, stops, resumes, and leaves averaged weights."""

from pathlib import Path

import torch
from torch import Tensor, nn

from tools.nano_training.loop import Plan, Training

PLAN = Plan(learning_rate=0.05, warmup_steps=5, ema_step=0.1, max_steps=200)


def line(checkpoint: Path | None, plan: Plan = PLAN) -> tuple[nn.Linear, Training]:
    """A linear layer that has to find y = 3x - 1."""
    torch.manual_seed(0)
    model = nn.Linear(1, 1)

    def loss() -> Tensor:
        x = torch.randn(32, 1)
        return ((model(x) - (3 * x - 1)) ** 2).mean()

    return model, Training({"line": model}, loss, plan, checkpoint)


def test_learns_and_leaves_the_average() -> None:
    model, training = line(None)
    progress = training.run(seconds=60)
    assert progress.steps == 200
    assert abs(model.weight.item() - 3) < 0.1
    assert torch.equal(model.weight, training.ema[0])


def test_resumes_where_it_stopped(tmp_path: Path) -> None:
    _, first = line(tmp_path / "line.pt", Plan(learning_rate=0.05, max_steps=20))
    first.run(seconds=60)
    _, second = line(tmp_path / "line.pt")
    assert second.resume()
    assert second.progress.steps == 20
    assert torch.equal(second.ema[0], first.ema[0])
    assert second.run(seconds=60).steps == 200


def test_ends_by_the_clock() -> None:
    _, training = line(None, Plan(learning_rate=0.01))
    assert training.run(seconds=0.05).steps > 0


def test_averaged_weights_are_only_borrowed() -> None:
    model, training = line(None)
    training._step()
    trained = model.weight.detach().clone()
    with training.averaged():
        assert torch.equal(model.weight, training.ema[0])
    assert torch.equal(model.weight, trained)
