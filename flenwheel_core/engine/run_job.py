"""A trainer's job through the loop: its checkpoints, its curve and its trackers lie in the job's folder."""

from typing import TYPE_CHECKING

from flenwheel_core.engine.checkpoint import CheckpointFolder
from flenwheel_core.engine.loop import LoopOutcome, TrainingTask, run_loop
from flenwheel_core.engine.team import Alone
from flenwheel_core.engine.trackers import make_trackers

if TYPE_CHECKING:
    from flenwheel_core.engine.edit_job import EditTrainJob
    from flenwheel_core.engine.job import TrainHooks, TrainJob
    from flenwheel_core.engine.vl_job import VlTrainJob


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
    )
