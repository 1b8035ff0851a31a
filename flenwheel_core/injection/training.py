"""The stages of a head's training, one after the other on the common loop; each goes on from where it was killed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from flenwheel_core.base.whole_files import write_atomically
from flenwheel_core.documents.loras import LossPoint
from flenwheel_core.engine.checkpoint import CheckpointFolder
from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.engine.loop import TrainingTask, run_loop
from flenwheel_core.engine.tensor_file import read_tensors, tensor_bytes
from flenwheel_core.injection.heads import LinearHead
from flenwheel_core.injection.residual import rows_for_others
from flenwheel_core.injection.tasks import FlowTask, Lessons, OracleTask, RegressionTask
from flenwheel_core.models.prompt_model import PromptModel
from flenwheel_core.recipes.injection import HeadRecipe, LearningRecipe
from flenwheel_core.recipes.train import TrainingRecipe

ORACLE = "oracle"
FINISHED = "finished.safetensors"


@dataclass(frozen=True)
class HeadJob:
    """A head to be trained."""

    run: str
    """Digest of the request: names the run in its checkpoints."""
    head: HeadRecipe
    learning: LearningRecipe
    folder: Path
    """Checkpoints, curves and what finished stages left: survives a crash."""


@dataclass(frozen=True)
class Learned:
    """A finished training."""

    head: Mapping[str, Tensor]
    curves: Mapping[str, tuple[LossPoint, ...]]
    """By stage, in their order."""
    oracle: Mapping[str, Tensor]
    """The residual (rows, width) of each identity by its number; empty if no oracle was asked for."""


def learn(model: PromptModel, lessons: Lessons, job: HeadJob, hooks: TrainHooks) -> Learned:
    """The oracle first, where it is asked for, since it bounds the method; then the head's stages in the recipe's order.

    Raises as `run_loop` does. On the CPU the outcome does not depend, bit for bit, on how often it was interrupted.
    """
    learning, place = job.learning, job.head.place
    rows = job.head.rows + (rows_for_others(lessons.photos[0].prompt) if place == "phrase" else 0)
    curves: dict[str, tuple[LossPoint, ...]] = {}
    oracle: Mapping[str, Tensor] = {}
    if learning.oracle_steps:
        recipe = learning.training(learning.oracle_steps, learning.oracle_rate)
        made = OracleTask(model, lessons, recipe, place, rows, seed=learning.seed, lead=job.head.leading)
        oracle, curves[ORACLE] = _stage(0, ORACLE, made, recipe, job, hooks)
    inputs = lessons.identities[0].features.shape[1]
    head = LinearHead(inputs, rows, model.width, seed=learning.seed, free=place == "phrase")
    head.centre_on(torch.cat([identity.features for identity in lessons.identities]))
    head.to(model.device)
    steps = learning.steps(len(lessons.photos))
    for number, name in enumerate(learning.stages, start=1):
        task: TrainingTask
        flow_rate = learning.flow_rate or learning.learning_rate
        recipe = learning.training(steps, learning.learning_rate if name == "regression" else flow_rate)
        if name == "regression":
            task = RegressionTask(
                head,
                lessons,
                recipe,
                place,
                seed=learning.seed,
                device=model.device,
                cosine=learning.cosine,
                pull=learning.pull,
                lead=job.head.leading,
            )
        else:
            task = FlowTask(model, head, lessons, recipe, place, seed=learning.seed)
        weights, curves[name] = _stage(number, name, task, recipe, job, hooks)
        with torch.no_grad():
            for key, parameter in head.named_parameters():
                parameter.copy_(weights[key])
    return Learned({key: value.detach().cpu() for key, value in head.state_dict().items()}, curves, oracle)


def _stage(
    number: int, name: str, task: TrainingTask, recipe: TrainingRecipe, job: HeadJob, hooks: TrainHooks
) -> tuple[Mapping[str, Tensor], tuple[LossPoint, ...]]:
    """What a stage leaves, and its curve: as it was left, if it was finished before. Folders are in the order of the stages."""
    folder, run = job.folder / f"{number}-{name}", f"{job.run} {name}"
    done = folder / FINISHED
    kept = _finished(done, run)
    if kept is not None:
        return kept
    hooks.note(f"{name}: {recipe.steps} steps of {recipe.batch_size}")
    outcome = run_loop(
        task,
        recipe,
        CheckpointFolder(folder, run, recipe.keep_checkpoints),
        loss_file=folder / "loss.jsonl",
        trackers=[],
        should_stop=hooks.should_stop,
        on_step=hooks.on_step,
        save_seconds=hooks.save_seconds,
    )
    weights = {key: value.detach().cpu().clone() for key, value in outcome.weights.items()}
    points = json.dumps([[point.step, point.loss] for point in outcome.losses])
    write_atomically(done, tensor_bytes(weights, {"flenwheel.run": run, "flenwheel.losses": points}))
    return weights, outcome.losses


def _finished(file: Path, run: str) -> tuple[Mapping[str, Tensor], tuple[LossPoint, ...]] | None:
    try:
        weights, metadata = read_tensors(file)
        points = json.loads(metadata["flenwheel.losses"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    if metadata.get("flenwheel.run") != run:
        return None
    return weights, tuple(LossPoint(step=step, loss=loss) for step, loss in points)
