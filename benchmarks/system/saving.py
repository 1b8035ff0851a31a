"""What keeping a training's state in an object store costs the training: `python -m benchmarks.system.saving`.

The real loop with a LoRA of FLUX's size and its moments, on the processor: a step waits as long as a card would work, then AdamW runs. The
state goes to the store (moto, in a process of its own) as in the stage. The same steps are done without any saving first, so that what a
state costs is the difference; it is told as a share of the time between two states.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import torch

from benchmarks.kit.cluster_services import BUCKET, start_object_store
from benchmarks.result_file import RESULTS, Row, write_result
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.checkpoint import Checkpoint, CheckpointFolder
from flenwheel_core.engine.loop import run_loop
from flenwheel_core.engine.saver import BackgroundSaver
from flenwheel_core.recipes.train import SamplingRecipe, TrainingRecipe
from flenwheel_core.requests.base import StageRequest
from flenwheel_core.runner.kept_state import StateKeeper
from flenwheel_core.runner.stage import CHECKPOINTS, KeptFiles
from flenwheel_core.stages.training_hooks import SHARE_OF_INTERVAL
from flenwheel_core.store import Store

WIDTH, RANK = 3072, 16
INTERVAL_SECONDS = Settings.model_fields["checkpoint_minutes"].get_default() * 60


class SavedRequest(StageRequest):
    """A training that is only its state."""

    stage = "train"
    version = 1
    name: str = "saving"


class Wait:
    """A LoRA whose passes take as long as is said, without the processor."""

    def __init__(self, megabytes: int, step_seconds: float) -> None:
        count = round(megabytes * 1e6 / (4 * WIDTH * RANK))
        self._seconds = step_seconds
        self._weights = {f"lora_{n:05d}": torch.nn.Parameter(torch.full((RANK, WIDTH), 1e-3)) for n in range(count)}

    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        return self._weights

    def loss(self, index: int) -> torch.Tensor:
        time.sleep(self._seconds)
        return torch.stack([weight.sum() for weight in self._weights.values()]).mean()

    def sample(self, step: int) -> None:
        return


def steps(task: Wait, folder: Path, count: int, keeper: StateKeeper | None, seconds: float | None) -> list[float]:
    """Seconds of each step but the first, in which memory is found."""
    marks: list[float] = []
    recipe = TrainingRecipe(
        steps=count,
        warmup_steps=0,
        checkpoint_every=count,
        log_every=1,
        keep_checkpoints=2,
        sampling=SamplingRecipe(every_steps=0),
    )
    with keeper.keeping() if keeper is not None else nullcontext():
        run_loop(
            task,
            recipe,
            CheckpointFolder(folder / "checkpoints", "run", recipe.keep_checkpoints),
            loss_file=folder / "loss.jsonl",
            trackers=[],
            should_stop=lambda: False,
            on_step=lambda done, loss: marks.append(time.monotonic()),
            save_seconds=seconds,
        )
    return [after - before for before, after in pairwise(marks)]


def on_the_thread(task: Wait, folder: Path) -> Row:
    """What the training waits for, and for what it waited before states were written in the background."""
    tensors = {
        f"{kind}/{name}": weight.detach() for name, weight in task.parameters().items() for kind in ("a", "b", "weight")
    }
    snapshot, place = Checkpoint(1, tensors, {"losses": []}), CheckpointFolder(folder / "alone", "run", 2)
    handed, written = [], []
    for _ in range(3):
        saver = BackgroundSaver(place)
        began = time.monotonic()
        assert snapshot.is_finite()
        saver.save(snapshot)
        handed.append(time.monotonic() - began)
        saver.finish()
        began = time.monotonic()
        assert snapshot.is_finite()
        place.save(snapshot)
        written.append(time.monotonic() - began)
    size = (folder / "alone" / "step-00000001.safetensors").stat().st_size
    return {
        "state_mb": size / 1e6,
        "handed_over_seconds": statistics.median(handed),
        "written_on_the_thread_seconds": statistics.median(written),
    }


def measure(folder: Path, arguments: argparse.Namespace) -> Row:
    """The row of one size."""
    objects = start_object_store(folder / "objects")
    try:
        task = Wait(arguments.megabytes, arguments.step_seconds)
        row = dict(on_the_thread(task, folder))
        alone = steps(task, folder / "alone-steps", arguments.steps, None, None)
        store = Store(f"s3://{BUCKET}/store", objects.options)
        scratch = folder / "scratch"
        scratch.mkdir()
        progress = Progress("train", lambda event: None)
        keeper = StateKeeper(
            store, SavedRequest(), KeptFiles(CHECKPOINTS), scratch, arguments.seconds, "here", progress
        )
        put = keeper.put
        sent: list[float] = []

        def timed_put() -> bool:
            began = time.monotonic()
            done = put()
            if done:
                sent.append(time.monotonic() - began)
            return done

        keeper.put = timed_put  # type: ignore[method-assign] # only the time is added
        saved = steps(task, scratch, arguments.steps, keeper, arguments.seconds * SHARE_OF_INTERVAL)
        states = len(sent)
        assert states > 0, "no state reached the store: let it do more steps, or ask for states more often"
        step = statistics.median(alone)
        lost = (sum(saved) - sum(alone)) / states
        row |= {
            "case": f"lora_{arguments.megabytes}_mb",
            "step_seconds": step,
            "states": states,
            "sent_seconds": statistics.median(sent),
            "lost_seconds": lost,
            "interval_seconds": INTERVAL_SECONDS,
            "share_of_time": lost / (INTERVAL_SECONDS * SHARE_OF_INTERVAL),
        }
        return row
    finally:
        objects.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--megabytes", type=int, default=250, help="of the LoRA alone; its state is three times as large"
    )
    parser.add_argument("--step-seconds", type=float, default=0.3, help="what a card works at a step")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seconds", type=float, default=20.0, help="between states, so that a short run has several")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # a training on a card needs no more
    with tempfile.TemporaryDirectory(prefix="flenwheel-saving-") as folder:
        row = measure(Path(folder), arguments)
    print(row)
    print(write_result("saving", [row], folder=arguments.out))


if __name__ == "__main__":
    main()
