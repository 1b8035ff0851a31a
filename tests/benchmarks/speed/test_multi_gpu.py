"""What the benchmark of several cards asks the stage, and what it says of two curves."""

from pathlib import Path

import pytest

from benchmarks.result_file import Row
from benchmarks.speed.multi_gpu import compared, training
from benchmarks.speed.rehearsal_models import Places, make_folders
from benchmarks.speed.rehearsal_requests import Rehearsal
from flenwheel_core.documents.loras import LoraRecord, LossPoint
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.train import TrainResult
from flenwheel_core.store import Store


def test_one_card_and_two_see_the_same_batch_of_one_shape(tmp_path: Path) -> None:
    recipe = load_recipe("nano")
    models = make_folders(recipe, ["train"], Places(tmp_path, tmp_path))
    rehearsal = Rehearsal.begin(Store(tmp_path.as_uri()), recipe, models, tmp_path)
    one, two = (training(rehearsal, cards=cards, global_batch=2, steps=40) for cards in (1, 2))
    assert (one.recipe.gpus, one.recipe.batch_size, two.recipe.gpus, two.recipe.batch_size) == (1, 2, 2, 1)
    assert one.items == two.items and len({item.image for item in one.items}) == len(one.items) == 4
    assert one.recipe.prior.method == "off" and one.recipe.sampling.every_steps == 0


def test_the_largest_difference_of_two_curves_is_told(tmp_path: Path) -> None:
    def made(seconds: float, *losses: float) -> tuple[Row, TrainResult]:
        points = tuple(LossPoint(step=step, loss=loss) for step, loss in enumerate(losses, start=1))
        lora = LoraRecord.model_construct()
        return {"step_seconds": seconds}, TrainResult.model_construct(lora=lora, losses=points, samples=())

    row = compared(made(0.5, 2.0, 1.1, 1.0), made(0.25, 2.0, 1.0, 1.0))
    assert row["speed_up"] == 2 and row["loss_difference"] == 0
    assert row["most_loss_difference"] == pytest.approx(0.1)
