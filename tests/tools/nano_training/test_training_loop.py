"""The loop that trains the nano models: it learns, stops, resumes, and leaves averaged weights."""

from dataclasses import replace
from pathlib import Path

import pytest
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


def test_a_stopped_training_learns_from_the_same_batches_as_a_whole_one(tmp_path: Path) -> None:
    """The rate hangs on steps where these are fewer than the time allows, so both are the same to the last bit."""
    plan = replace(PLAN, max_steps=40)
    whole, training = line(None, plan)
    training.run(seconds=1e9)
    _, first = line(tmp_path / "line.pt", plan)
    steps = iter(range(17))
    drawn = first.loss

    def stopped() -> Tensor:
        if next(steps, None) is None:
            first.save()
            raise KeyboardInterrupt
        return drawn()

    first.loss = stopped
    with pytest.raises(KeyboardInterrupt):
        first.run(seconds=1e9)
    torch.manual_seed(99)
    again, second = line(tmp_path / "line.pt", plan)
    second.resume()
    assert second.progress.steps == 17
    second.run(seconds=1e9)
    assert torch.equal(again.weight, whole.weight) and torch.equal(again.bias, whole.bias)


def test_several_processes_share_one_schedule(tmp_path: Path) -> None:
    plan = Plan(learning_rate=0.01, warmup_steps=1)
    _, first = line(tmp_path / "line.pt", plan)
    steps = first.run(seconds=0.1, whole_seconds=0.3).steps
    assert not first.is_complete
    assert first.optimizer.param_groups[0]["lr"] > 0.5 * plan.learning_rate  # a third of the way down
    _, second = line(tmp_path / "line.pt", plan)
    assert second.was_begun and second.resume()
    assert second.run(seconds=60, whole_seconds=0.3).steps > steps
    assert second.is_complete and second.progress.train_seconds < 1
    assert second.optimizer.param_groups[0]["lr"] < 0.1 * plan.learning_rate


def test_a_finished_training_gives_its_average_again(tmp_path: Path) -> None:
    model, first = line(tmp_path / "line.pt", replace(PLAN, max_steps=20))
    first.run(seconds=60)
    again, second = line(tmp_path / "line.pt")
    second.resume()
    second.finish()
    assert second.is_complete and torch.equal(again.weight, model.weight)
