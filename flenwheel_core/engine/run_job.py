"""A trainer's job through the loop: its checkpoints, its curve and its trackers lie in the job's folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from flenwheel_core.base.whole_files import write_atomically
from flenwheel_core.documents.loras import PictureLook
from flenwheel_core.engine.checkpoint import CheckpointFolder
from flenwheel_core.engine.job import TrainJob
from flenwheel_core.engine.loop import LoopOutcome, Marks, TrainingTask, run_loop
from flenwheel_core.engine.team import Alone
from flenwheel_core.engine.tensor_file import read_tensors, tensor_bytes
from flenwheel_core.engine.trackers import make_trackers

if TYPE_CHECKING:
    from flenwheel_core.engine.edit_job import EditTrainJob
    from flenwheel_core.engine.job import TrainHooks
    from flenwheel_core.engine.vl_job import VlTrainJob


@runtime_checkable
class LooksAtPictures(Protocol):
    """A task that can tell how each of its pictures is learned."""

    def look(self, step: int) -> tuple[PictureLook, ...]:
        """Each own picture as it is learned after `step`. The training goes on as if nobody had looked."""


def run_job(task: TrainingTask, job: "TrainJob | EditTrainJob | VlTrainJob", hooks: "TrainHooks") -> LoopOutcome:
    """Trains from the newest checkpoint in the job's folder, or from the start. Raises as `run_loop` does."""
    team = hooks.team or Alone()
    trackers = make_trackers(job.recipe.trackers, job.folder, run=job.name) if team.rank == 0 else []
    return run_loop(
        task,
        job.recipe,
        CheckpointFolder(job.folder / "checkpoints", job.run, job.recipe.keep_checkpoints),
        loss_file=job.folder / "loss.jsonl",
        trackers=trackers,
        should_stop=hooks.should_stop,
        on_step=hooks.on_step,
        team=team,
        save_seconds=hooks.save_seconds,
        marks=_marks(task, job, hooks) if isinstance(job, TrainJob) else None,
    )


def _marks(task: TrainingTask, job: TrainJob, hooks: "TrainHooks") -> Marks | None:
    """What a job asks for at some of its steps; nothing is measured twice where a run goes on."""
    if not job.keep_at and not job.look_at:
        return None

    def reached(step: int, weights: Mapping[str, torch.Tensor]) -> None:
        if step in job.keep_at:
            write_atomically(kept_file(job, step), tensor_bytes(weights))
        if step in job.look_at and isinstance(task, LooksAtPictures) and not looks_file(job, step).exists():
            hooks.note(f"looking at {len(job.pictures)} pictures after step {step}")
            lines = [look.model_dump_json() for look in task.look(step)]
            write_atomically(looks_file(job, step), "\n".join(lines).encode())

    return Marks(frozenset((*job.keep_at, *job.look_at)), reached)


def kept_file(job: TrainJob, step: int) -> Path:
    """The weights of a state that is kept."""
    return job.folder / "kept" / f"step-{step:08d}.safetensors"


def looks_file(job: TrainJob, step: int) -> Path:
    """What was measured of the pictures after a step, a line each."""
    return job.folder / "looks" / f"step-{step:08d}.jsonl"


def kept_weights(job: TrainJob, step: int) -> Mapping[str, torch.Tensor]:
    """The weights of a state that was kept, under the names of the loop."""
    return read_tensors(kept_file(job, step))[0]


def all_looks(job: TrainJob) -> tuple[PictureLook, ...]:
    """What was measured of the pictures, look after look; nothing where the family cannot tell."""
    lines = [
        line
        for step in job.look_at
        if looks_file(job, step).exists()
        for line in looks_file(job, step).read_bytes().splitlines()
    ]
    return tuple(PictureLook.model_validate_json(line) for line in lines)
