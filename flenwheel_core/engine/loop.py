"""The training loop, without knowledge of any model.

What is not covered here: items and losses (the family's task), the order of items (order.py), where results are kept
(the stage).
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import torch

from flenwheel_core.base.errors import InterruptedStageError, OutOfMemoryError, UserError, first_line
from flenwheel_core.documents.loras import LossPoint
from flenwheel_core.engine.checkpoint import (
    Checkpoint,
    CheckpointFolder,
    are_finite,
    optimizer_tensors,
    restore_optimizer,
)
from flenwheel_core.engine.ema import WeightAverage
from flenwheel_core.engine.optimizers import make_optimizer
from flenwheel_core.engine.saver import BackgroundSaver
from flenwheel_core.engine.schedules import learning_rate_factor
from flenwheel_core.engine.team import Alone, Team
from flenwheel_core.engine.trackers import LossFile, Tracker
from flenwheel_core.recipes.train import TrainingRecipe

_log = logging.getLogger(__name__)


class TrainingTask(Protocol):
    """What a family gives the loop."""

    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        """The trained weights by stable name, float32."""

    def loss(self, index: int) -> torch.Tensor:
        """The loss of forward pass `index`, counted from the start of training: a scalar on the model's device.

        Everything random in it derives from (seed, index), and it must not wait for the device.
        """

    def sample(self, step: int) -> Mapping[str, float] | None:
        """Draw the sample pictures for `step`, unless they are there already; their figures for the curves, if any.

        Those of step 0 are asked for when the first step is done, and show the model without its adapter.
        """


@dataclass(frozen=True)
class Marks:
    """Steps after which something is done with the weights as they are then. It must not change the training."""

    steps: frozenset[int]
    reached: Callable[[int, Mapping[str, torch.Tensor]], None]
    """(steps done, the weights that would be saved). Called again for the same step where a run went on from before it."""


@dataclass(frozen=True)
class LoopOutcome:
    """What a finished run leaves: the weights to save and the curve."""

    weights: Mapping[str, torch.Tensor]
    losses: tuple[LossPoint, ...]


def run_loop(
    task: TrainingTask,
    recipe: TrainingRecipe,
    checkpoints: CheckpointFolder,
    *,
    loss_file: Path,
    trackers: list[Tracker],
    should_stop: Callable[[], bool],
    on_step: Callable[[int, float], None],
    team: Team | None = None,
    save_seconds: float | None = None,
    marks: Marks | None = None,
) -> LoopOutcome:
    """Train from the newest checkpoint, or from the start, to the end; checkpoints are at most `save_seconds` apart.

    Raises InterruptedStageError after saving when told to stop, OutOfMemoryError when the card is full, and UserError when loss or
    weights are no longer numbers: no checkpoint is written of such. The outcome does not depend on how often the run was interrupted.
    In a team every process runs this; only the first one reads and writes files, and all agree on when to stop.
    """
    team = team or Alone()
    first = team.rank == 0
    parameters = task.parameters()
    optimizer = make_optimizer(recipe, list(parameters.values()))
    average = WeightAverage(parameters, recipe.ema_decay) if recipe.ema_decay else None
    points: list[LossPoint] = []
    pending: list[torch.Tensor] = []
    start = 0
    saved_at = time.monotonic()
    saver = BackgroundSaver(checkpoints) if first else None
    saved = _newest(checkpoints, team)
    if saved is not None:
        start, points, pending = _restore(saved, parameters, optimizer, average)
    writers: list[Tracker] = [LossFile(loss_file, points, before=start), *trackers] if first else []

    def sample(step: int) -> None:
        figures = dict(task.sample(step) or {})
        for tracker in writers if figures else []:
            tracker.log(step, figures)

    try:
        for step in range(start, recipe.steps):
            if _told_to_stop(team, should_stop, step, recipe):
                _save(saver, _snapshot(step, parameters, optimizer, average, points, pending), last=True)
                raise InterruptedStageError(
                    f"Training stopped after step {step} and saved its state.", remedy="Start it again to go on."
                )
            samples = first and recipe.sampling.every_steps > 0 and step % recipe.sampling.every_steps == 0
            if samples and step > 0:
                sample(step)
            _set_learning_rate(optimizer, recipe, step)
            pending.append(_one_step(task, recipe, optimizer, parameters, step, team))
            if average is not None:
                average.update(parameters, step + 1)
            done = step + 1
            logs = done % recipe.log_every == 0 or done == recipe.steps
            if step == start and not logs:
                on_step(done, float(pending[-1]))  # people wait for the first step longest
            if samples and step == 0:  # the base's own pictures: they can wait until it is sure that a step runs
                sample(0)
            if logs:
                points.append(_log_point(done, pending))
                pending.clear()
                for tracker in writers:
                    tracker.log(done, {"loss": points[-1].loss})
                on_step(done, points[-1].loss)
            if (
                first and marks is not None and done in marks.steps
            ):  # before the checkpoint: who goes on from it has passed the mark
                marks.reached(done, average.average if average is not None else parameters)
            regular = done % recipe.checkpoint_every == 0
            # In a team only the first one writes, so that only its clock counts.
            late = first and save_seconds is not None and time.monotonic() - saved_at >= save_seconds
            if (regular or late) and done < recipe.steps:
                _save(saver, _snapshot(done, parameters, optimizer, average, points, pending))
                saved_at = time.monotonic()
        if first and recipe.sampling.every_steps:
            sample(recipe.steps)
        missed = saver.end() if saver is not None else None
        if missed is not None:  # the state was for going on from, and the training is over: its weights are what counts
            _log.warning("A checkpoint could not be written; the training ended without it: %s", first_line(missed))
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfMemoryError(
            "The card ran out of memory while training.",
            why=first_line(error),
            remedy="It goes on from the last checkpoint with a tighter memory plan; or lower resolution or batch_size.",
        ) from error
    finally:
        if saver is not None:
            saver.wait()  # also when something failed: what was handed over is not lost
        for tracker in writers:
            tracker.close()
    final = average.average if average is not None else parameters
    if not are_finite(final.values()):
        raise _diverged("weights are no numbers any more", recipe.steps)
    return LoopOutcome({name: tensor.detach() for name, tensor in final.items()}, tuple(points))


def _newest(checkpoints: CheckpointFolder, team: Team) -> Checkpoint | None:
    """The newest checkpoint of the first process, in every process: what lies on another machine may be of an older attempt."""
    found = checkpoints.latest() if team.rank == 0 else None
    if team.size == 1:
        return found
    data = team.hand_out(b"" if found is None else checkpoints.encoded(found))
    return checkpoints.decoded(data) if data else None


def _one_step(
    task: TrainingTask,
    recipe: TrainingRecipe,
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, torch.nn.Parameter],
    step: int,
    team: Team,
) -> torch.Tensor:
    total: torch.Tensor | None = None
    for micro in range(recipe.gradient_accumulation):
        loss = task.loss(step * recipe.gradient_accumulation + micro) / recipe.gradient_accumulation
        loss.backward()
        total = loss.detach() if total is None else total + loss.detach()
        del loss  # what it holds of the parameters would disturb the recording of another shape as a CUDA graph
    team.mean_gradients(parameters.values())
    torch.nn.utils.clip_grad_norm_(parameters.values(), recipe.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    assert total is not None
    return team.mean(total)


def _told_to_stop(team: Team, should_stop: Callable[[], bool], step: int, recipe: TrainingRecipe) -> bool:
    """Alone: at once. In a team: at the next log point, so that asking each other does not cost every step."""
    if team.size == 1:
        return should_stop()
    return step % recipe.log_every == 0 and team.any(should_stop())


def _set_learning_rate(optimizer: torch.optim.Optimizer, recipe: TrainingRecipe, step: int) -> None:
    factor = learning_rate_factor(
        step, steps=recipe.steps, warmup_steps=min(recipe.warmup_steps, recipe.steps), schedule=recipe.schedule
    )
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate * factor


def _log_point(step: int, pending: list[torch.Tensor]) -> LossPoint:
    loss = torch.stack(pending).double().mean().item()  # the only wait for the device
    if not math.isfinite(loss):
        raise _diverged(f"loss is {loss}", step)
    return LossPoint(step=step, loss=loss)


def _save(saver: BackgroundSaver | None, snapshot: Checkpoint, *, last: bool = False) -> None:
    """Never keeps what nothing can go on from; every process of a team finds the same, the first one writes. The `last` is on disk then."""
    if not snapshot.is_finite():
        raise _diverged("weights are no numbers any more", snapshot.step)
    if saver is not None and last:
        saver.save_last(snapshot)
    elif saver is not None:
        saver.save(snapshot)


def _diverged(what: str, step: int) -> UserError:
    return UserError(
        f"The training {what} before step {step}.",
        why="The adapter diverged, most often because of the learning rate.",
        remedy="Lower learning_rate, or raise warmup_steps; the checkpoints before it are intact.",
    )


def _snapshot(
    step: int,
    parameters: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    average: WeightAverage | None,
    points: list[LossPoint],
    pending: list[torch.Tensor],
) -> Checkpoint:
    tensors, facts = optimizer_tensors(optimizer)
    tensors |= {f"weight/{name}": parameter for name, parameter in parameters.items()}
    if average is not None:
        tensors |= {f"average/{name}": tensor for name, tensor in average.average.items()}
    if pending:
        tensors["pending_losses"] = torch.stack(pending)
    facts["losses"] = [[point.step, point.loss] for point in points]
    return Checkpoint(step, tensors, facts)


@torch.no_grad()
def _restore(
    saved: Checkpoint,
    parameters: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    average: WeightAverage | None,
) -> tuple[int, list[LossPoint], list[torch.Tensor]]:
    for name, parameter in parameters.items():
        parameter.copy_(saved.tensors[f"weight/{name}"])
    restore_optimizer(optimizer, saved.tensors, saved.facts)
    if average is not None:
        average.load({name: saved.tensors[f"average/{name}"] for name in parameters})
    points = [LossPoint(step=step, loss=loss) for step, loss in cast(list[tuple[int, float]], saved.facts["losses"])]
    device = next(iter(parameters.values())).device
    pending = list(saved.tensors["pending_losses"].to(device)) if "pending_losses" in saved.tensors else []
    return saved.step, points, pending
