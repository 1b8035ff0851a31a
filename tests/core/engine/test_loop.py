"""The loop with the smallest task there is: what holds here holds for every family."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from flenwheel_core.base.errors import InterruptedStageError, UserError
from flenwheel_core.engine.checkpoint import Checkpoint, CheckpointFolder
from flenwheel_core.engine.loop import LoopOutcome, run_loop
from flenwheel_core.engine.randomness import normal
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.recipes.train import SamplingRecipe, TrainingRecipe


class Line:
    """Fits a matrix to a matrix from derived random inputs."""

    def __init__(self, die_at: int | None = None, poison_at: int | None = None) -> None:
        self.weight = torch.nn.Parameter(normal((4, 4), 0, "start"))
        self.truth = normal((4, 4), 0, "truth")
        self.die_at, self.poison_at = die_at, poison_at
        self.sampled: list[int] = []
        self.passes: list[int] = []

    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        return {"weight": self.weight}

    def loss(self, index: int) -> torch.Tensor:
        if index == self.die_at:
            raise KeyboardInterrupt  # nothing is saved on the way out, as with kill -9
        self.passes.append(index)
        x = normal((8, 4), 0, "x", index)
        error = x @ (self.weight - self.truth)
        return (error**2).mean() * (float("nan") if index == self.poison_at else 1.0)

    def sample(self, step: int) -> Mapping[str, float] | None:
        self.sampled.append(step)
        return None


def recipe(**changes: object) -> TrainingRecipe:
    plain: dict[str, object] = {
        "steps": 23,
        "learning_rate": 0.05,
        "warmup_steps": 3,
        "schedule": "cosine",
        "checkpoint_every": 5,
        "log_every": 4,
        "ema_decay": 0.9,
        "gradient_accumulation": 2,
        "sampling": SamplingRecipe(every_steps=10),
    }
    return TrainingRecipe.model_validate(plain | changes)


class FullAt(CheckpointFolder):
    """A disk that has no room for the state after step 20."""

    def save(self, checkpoint: Checkpoint) -> None:
        if checkpoint.step == 20:
            raise OSError("no space left on device")
        super().save(checkpoint)


def go(
    folder: Path,
    task: Line,
    chosen: TrainingRecipe,
    stop_after: int | None = None,
    on_step: Callable[[int, float], None] = lambda done, loss: None,
    save_seconds: float | None = None,
    disk: type[CheckpointFolder] = CheckpointFolder,
) -> LoopOutcome:
    calls = iter(range(10_000))
    return run_loop(
        task,
        chosen,
        disk(folder / "checkpoints", "run", chosen.keep_checkpoints),
        loss_file=folder / "loss.jsonl",
        trackers=[],
        should_stop=lambda: stop_after is not None and next(calls) >= stop_after,
        on_step=on_step,
        save_seconds=save_seconds,
    )


def content(outcome: LoopOutcome) -> bytes:
    return tensor_bytes(outcome.weights)


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor", "prodigy", "adamw8bit"])
def test_death_at_any_step_changes_nothing_of_the_result(tmp_path: Path, optimizer: str) -> None:
    chosen = recipe(optimizer=optimizer, learning_rate=1.0 if optimizer == "prodigy" else 0.05)
    whole = go(tmp_path / "whole", Line(), chosen)
    curve = (tmp_path / "whole" / "loss.jsonl").read_text()
    for death in (0, 1, 9, 10, 11, 27, 45):
        folder = tmp_path / f"death{death}"
        with pytest.raises(KeyboardInterrupt):
            go(folder, Line(die_at=death), chosen)
        resumed = go(folder, Line(), chosen)
        assert content(resumed) == content(whole)
        assert resumed.losses == whole.losses
        assert (folder / "loss.jsonl").read_text() == curve


def test_checkpoints_by_the_clock_change_nothing_of_the_result(tmp_path: Path) -> None:
    chosen = recipe(checkpoint_every=1000)
    whole = go(tmp_path / "whole", Line(), chosen)
    assert list((tmp_path / "whole").rglob("step-*")) == []
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "clock", Line(die_at=27), chosen, save_seconds=0.0)
    assert max((tmp_path / "clock").rglob("step-*")).stem == "step-00000013"
    resumed = go(tmp_path / "clock", Line(), chosen, save_seconds=3600.0)
    assert content(resumed) == content(whole) and resumed.losses == whole.losses


def test_being_told_to_stop_saves_that_very_step(tmp_path: Path) -> None:
    whole = go(tmp_path / "whole", Line(), recipe())
    with pytest.raises(InterruptedStageError):
        go(tmp_path / "stopped", Line(), recipe(), stop_after=7)
    second = Line()
    resumed = go(tmp_path / "stopped", second, recipe())
    assert min(second.passes) == 14  # two passes a step: nothing is done twice
    assert content(resumed) == content(whole) and resumed.losses == whole.losses


def test_a_state_that_could_not_be_written_costs_neither_a_stop_nor_the_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = go(tmp_path / "whole", Line(), recipe())
    ended = go(tmp_path / "ended", Line(), recipe(), disk=FullAt)
    assert content(ended) == content(whole) and ended.losses == whole.losses
    assert "no space left on device" in caplog.text
    with pytest.raises(InterruptedStageError):
        go(tmp_path / "stopped", Line(), recipe(), stop_after=22, disk=FullAt)
    second = Line()
    assert content(go(tmp_path / "stopped", second, recipe())) == content(whole) and min(second.passes) == 44


def test_the_first_step_is_told_at_the_start_and_after_a_stop(tmp_path: Path) -> None:
    told: list[int] = []
    with pytest.raises(InterruptedStageError):
        go(tmp_path, Line(), recipe(), stop_after=6, on_step=lambda done, loss: told.append(done))
    assert told == [1, 4]
    told.clear()
    go(tmp_path, Line(), recipe(), on_step=lambda done, loss: told.append(done))
    assert told == [7, 8, 12, 16, 20, 23]


def test_figures_of_samples_stay_in_the_curve_through_a_death(tmp_path: Path) -> None:
    class Scored(Line):
        def sample(self, step: int) -> Mapping[str, float]:
            return {"identity": step / 100}

    go(tmp_path / "whole", Scored(), recipe())
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "broken", Scored(die_at=31), recipe())
    go(tmp_path / "broken", Scored(), recipe())
    curve = (tmp_path / "broken" / "loss.jsonl").read_text()
    assert curve == (tmp_path / "whole" / "loss.jsonl").read_text()
    lines = [json.loads(line) for line in curve.splitlines()]
    assert [(line["step"], line["identity"]) for line in lines if "identity" in line] == [
        (0, 0.0), (10, 0.1), (20, 0.2), (23, 0.23),
    ]  # fmt: skip
    go(tmp_path / "each", Scored(), recipe(log_every=1))
    steps = [json.loads(line)["step"] for line in (tmp_path / "each" / "loss.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def test_it_learns_and_samples_at_fixed_steps(tmp_path: Path) -> None:
    task = Line()
    outcome = go(tmp_path, task, recipe(steps=200, schedule="constant"))
    assert outcome.losses[-1].loss < 0.05 * outcome.losses[0].loss
    assert task.sampled[:3] == [0, 10, 20] and task.sampled[-1] == 200


def test_the_first_samples_wait_until_a_step_has_run(tmp_path: Path) -> None:
    class Ordered(Line):
        def sample(self, step: int) -> Mapping[str, float] | None:
            self.passes.append(-step)
            return super().sample(step)

    task = Ordered()
    go(tmp_path / "whole", task, recipe())
    assert task.passes[:5] == [0, 1, 0, 2, 3]  # two passes a step
    assert task.passes.index(-10) == task.passes.index(20) - 1
    broken = Ordered()
    with pytest.raises(InterruptedStageError):
        go(tmp_path / "stopped", broken, recipe(), stop_after=1)
    assert broken.sampled == [0]
    again = Ordered()
    go(tmp_path / "stopped", again, recipe())
    assert again.sampled == [10, 20, 23]


def test_the_average_of_the_weights_is_what_is_saved(tmp_path: Path) -> None:
    plain, averaged = Line(), Line()
    without = go(tmp_path / "a", plain, recipe(ema_decay=None))
    with_average = go(tmp_path / "b", averaged, recipe(ema_decay=0.9))
    assert torch.equal(without.weights["weight"], plain.weight.detach())
    assert not torch.equal(with_average.weights["weight"], averaged.weight.detach())


def test_accumulation_is_one_step_on_the_mean(tmp_path: Path) -> None:
    outcome = go(
        tmp_path, task := Line(), recipe(steps=3, warmup_steps=0, gradient_accumulation=4, schedule="constant")
    )
    assert task.passes == list(range(12))
    assert [point.step for point in outcome.losses] == [3]


def test_a_loss_that_is_no_number_ends_the_run_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="learning_rate"):
        go(tmp_path, Line(poison_at=20), recipe())


class Poisoned(Line):
    """In one pass the loss is a number and its gradient is none: the slope of a root at zero."""

    def loss(self, index: int) -> torch.Tensor:
        return torch.sqrt((self.weight * 0).sum()) if index == self.poison_at else super().loss(index)


@pytest.mark.parametrize("every", [1, 3, 5])
def test_no_checkpoint_is_written_of_weights_that_are_no_numbers(tmp_path: Path, every: int) -> None:
    chosen = recipe(checkpoint_every=every, log_every=23, keep_checkpoints=1, gradient_accumulation=1)
    whole = go(tmp_path / "whole", Line(), chosen)
    with pytest.raises(UserError, match="weights are no numbers"):
        go(tmp_path / "run", Poisoned(poison_at=11), chosen)
    kept = CheckpointFolder(tmp_path / "run" / "checkpoints", "run", 1).latest()
    assert kept is not None and kept.step == 11 // every * every and kept.is_finite()
    assert content(go(tmp_path / "run", Line(), chosen)) == content(whole)


def test_a_stop_after_the_numbers_broke_saves_nothing(tmp_path: Path) -> None:
    chosen = recipe(checkpoint_every=5, log_every=23, gradient_accumulation=1)
    with pytest.raises(UserError, match="weights are no numbers"):
        go(tmp_path, Poisoned(poison_at=6), chosen, stop_after=8)
    kept = CheckpointFolder(tmp_path / "checkpoints", "run", 1).latest()
    assert kept is not None and kept.step == 5


def test_weights_that_break_in_the_last_step_are_no_result(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="weights are no numbers"):
        go(tmp_path, Poisoned(poison_at=22), recipe(gradient_accumulation=1, ema_decay=None))
