"""The stage `train` on several cards at full size: speed-up over one card, and the same loss.

Both trainings see the same global batch: one card takes all of it, several take a part each. The stage runs as in a turn, in a process of
its own, from weights on disk, with `train.gpus` of its recipe; nothing is drawn, and all pictures have one shape.

    python -m benchmarks.speed.dress_rehearsal --work /dev/shm/rehearsal --stages train --folders-only
    python -m benchmarks.speed.multi_gpu --work /dev/shm/rehearsal --cards 2
    python -m benchmarks.speed.multi_gpu --work /tmp/team --recipe nano --cpu --out /tmp/team    # tries it out
"""

import argparse
import shutil
from pathlib import Path

from benchmarks.result_file import Row, write_result
from benchmarks.speed import rehearsal_requests as ask
from benchmarks.speed.dress_rehearsal import Seen
from benchmarks.speed.rehearsal_models import Places, make_folders
from benchmarks.speed.rehearsal_requests import Rehearsal
from flenwheel_core.base.settings import Settings
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.train import TrainRequest, TrainResult
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import TRAIN
from flenwheel_core.store import Store

LOG_EVERY = 5
SIDE = 1024


def training(rehearsal: Rehearsal, *, cards: int, global_batch: int, steps: int) -> TrainRequest:
    """Square pictures alone, so that every step has one shape; no pictures of the class, no samples, no checkpoint on the way."""
    whole = ask.train(rehearsal, steps=steps, prior=False, name=f"mira-{cards}-cards")
    square = {record.digest for record in rehearsal.source_records() if (record.width, record.height) == (SIDE, SIDE)}
    changes = {
        "gpus": cards,
        "batch_size": global_batch // cards,
        "log_every": LOG_EVERY,
        "checkpoint_every": steps,
        "min_images": 1,
        "sampling": {"every_steps": 0},
    }
    recipe = TrainingRecipe.model_validate(whole.recipe.model_dump() | changes)
    items = tuple(item for item in whole.items if item.image in square)
    return whole.model_copy(update={"recipe": recipe, "items": items, "sample_prompts": ()})


def trained(request: TrainRequest, settings: Settings) -> tuple[Row, TrainResult]:
    """The row of a training, and its result."""
    recipe, seen = request.recipe, Seen()
    result = run_in_child(TRAIN, request, settings, seen.take)
    losses = [point.loss for point in result.losses]
    row: Row = {
        "case": f"processes{recipe.gpus}_batch{recipe.gpus * recipe.batch_size}_{recipe.resolution}",
        "processes": recipe.gpus,
        "global_batch": recipe.gpus * recipe.batch_size,
        "pixels": recipe.resolution,
        "steps": recipe.steps,
        "first_step_seconds": seen.steps[0][0],
        "step_seconds": seen.item_seconds(),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "plan": seen.plans[-1] if seen.plans else None,
    }
    return row, result


def compared(one: tuple[Row, TrainResult], several: tuple[Row, TrainResult]) -> Row:
    """How many times as fast, and how far the curves lie apart where they do most."""
    apart = [abs(left.loss / right.loss - 1) for left, right in zip(one[1].losses, several[1].losses, strict=True)]
    speed_up = float(one[0]["step_seconds"] or 0) / float(several[0]["step_seconds"] or 1)
    return {
        "case": "comparison",
        "speed_up": speed_up,
        "loss_difference": apart[-1],
        "most_loss_difference": max(apart),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of weights, as of the dress rehearsal")
    parser.add_argument("--recipe", default="flux_character_24gb")
    parser.add_argument("--cards", type=int, default=2)
    parser.add_argument("--global-batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--cpu", action="store_true", help="processes on the CPU instead of cards")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe)
    models = make_folders(recipe, ["train"], Places(arguments.work, arguments.work))
    made: list[tuple[Row, TrainResult]] = []
    for cards in (1, arguments.cards):
        named = "cpu" if arguments.cpu else ",".join(map(str, range(cards)))
        # A fresh workspace each: neither finds what the other encoded, or a result.
        place = Path(arguments.work) / f"workspace-{cards}-cards"
        settings = Settings(workspace=place, models=arguments.work / "models", gpu=named)
        shutil.rmtree(place, ignore_errors=True)
        settings.root.mkdir(parents=True)
        rehearsal = Rehearsal.begin(Store(settings.store_url), recipe, models, settings.root)
        request = training(rehearsal, cards=cards, global_batch=arguments.global_batch, steps=arguments.steps)
        made.append(trained(request, settings))
        print(made[-1][0], flush=True)
        write_result("multi_gpu", [row for row, _ in made], folder=arguments.out)
    rows = [*(row for row, _ in made), compared(*made)]
    print(rows[-1], flush=True)
    write_result("multi_gpu", rows, folder=arguments.out)


if __name__ == "__main__":
    main()
