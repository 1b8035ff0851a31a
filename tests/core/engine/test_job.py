from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.job import TrainJob, TrainPicture, check_job
from flenwheel_core.recipes.train import TrainingRecipe

PICTURE = TrainPicture("a" * 64, "photo of ohwx person", lambda: Image.new("RGB", (64, 64)))
JOB = TrainJob(
    run="run",
    name="a-v1",
    pictures=(PICTURE,) * 6,
    trigger="ohwx",
    class_word="person",
    recipe=TrainingRecipe(),
    seed=0,
    sampler=Sampler(),
    sample_prompts=("photo of ohwx person",),
    folder=Path("unused"),
)


def test_a_usable_job_passes() -> None:
    check_job(JOB)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (replace(JOB, pictures=JOB.pictures[:3]), "only 3 pictures"),
        (replace(JOB, pictures=(*JOB.pictures, replace(PICTURE, caption=" "))), "1 of 7 pictures have no caption"),
        (replace(JOB, trigger="zwx"), "No caption contains the trigger"),
        (replace(JOB, sampler=Sampler(width=1000)), "1000x1024 cannot be drawn"),
    ],
)
def test_what_cannot_train_well_is_refused_before_anything_loads(job: TrainJob, message: str) -> None:
    with pytest.raises(FlenwheelError, match=message):
        check_job(job)
