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


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slow, self.fast = nn.Linear(1, 1), nn.Linear(1, 1)


def test_parts_of_modules_have_shares_of_the_rate() -> None:
    torch.manual_seed(0)
    pair, other = Pair(), nn.Linear(1, 1)
    plan = Plan(learning_rate=0.1, warmup_steps=1, weight_decay=0.0, max_steps=1, rates={"pair": 0.1, "pair.fast": 0.5})
    before = [parameter.item() for parameter in (pair.slow.bias, pair.fast.bias, other.bias)]
    training = Training(
        {"pair": pair, "other": other}, lambda: (pair.slow.bias + pair.fast.bias + other.bias).sum(), plan
    )
    training._set_rate(0, 0.0)
    training._step()
    after = [parameter.item() for parameter in (pair.slow.bias, pair.fast.bias, other.bias)]
    moved = [old - new for old, new in zip(before, after, strict=True)]
    assert moved == pytest.approx([0.01, 0.05, 0.1], rel=1e-3)


@pytest.mark.parametrize("clips_each", [True, False])
def test_a_module_that_explodes_need_not_stop_the_others(clips_each: bool) -> None:
    calm, wild = nn.Linear(1, 1), nn.Linear(1, 1)
    training = Training(
        {"calm": calm, "wild": wild},
        lambda: (calm.bias + 1e6 * wild.bias).sum(),
        Plan(learning_rate=0.1, clips_each=clips_each),
    )
    training._step()
    assert calm.bias.grad is not None and wild.bias.grad is not None
    assert wild.bias.grad.item() == pytest.approx(1, rel=1e-3)
    assert (calm.bias.grad.item() > 0.9) == clips_each


def test_a_task_that_diverged_ends_the_training(capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Linear(1, 1)

    class Loss:
        def __call__(self) -> Tensor:
            return model.bias.sum() ** 2

        def shares(self) -> dict[str, float]:
            return {"draws": 0.5, "edits": 30.0}

    training = Training({"line": model}, Loss(), Plan(learning_rate=0.01, max_steps=200))
    with pytest.raises(FloatingPointError, match=r"edits is at 30\.0 times the error of predicting nothing"):
        training.run(seconds=60)
    assert training.progress.steps == 20, "the second look in a row"
    assert "draws 0.500 edits 30.000" in capsys.readouterr().out
