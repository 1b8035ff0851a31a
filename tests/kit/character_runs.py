"""Trainings of a character that are over in seconds, for families of which there is a toy; and whether pictures are the same."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.job import TrainHooks, TrainJob, TrainPicture
from flenwheel_core.recipes.train import TrainingRecipe
from tests.kit.tiny_editor import picture

RECIPE = TrainingRecipe.model_validate(
    {
        "steps": 4,
        "resolution": 64,
        "bucket_step": 16,
        "batch_size": 2,
        "learning_rate": 1e-2,
        "warmup_steps": 0,
        "text_tokens": 64,
        "caption_dropout": 0.3,
        "checkpoint_every": 100,
        "log_every": 1,
        "min_images": 1,
        "lora": {"rank": 2},
        "prior": {"images": 1, "share": 0.25},
        "sampling": {"every_steps": 4, "prompts": 1},
    }
)


def character_job(
    folder: Path, sampler: Sampler, prompt: str, trigger: str, recipe: TrainingRecipe = RECIPE
) -> TrainJob:
    """Two pictures with a caption each, which begins with the prompt of the sample; one has a mask."""
    pictures = tuple(
        TrainPicture(
            f"{number}" * 64,
            f"{prompt}, number {number}",
            lambda number=number: picture(70, 60, number),
            left_half if number == 1 else None,
        )
        for number in range(2)
    )
    return TrainJob("run", "mira-v1", pictures, trigger, "person", recipe, 3, sampler, (prompt,), folder)


def left_half() -> Image.Image:
    """A mask of the pictures that `character_job` gives."""
    mask = Image.new("L", (70, 60))
    mask.paste(255, (0, 0, 35, 60))
    return mask


def first_step_without_masks(job: TrainJob) -> TrainJob:
    """The same run as long as its first step, on whole pictures."""
    recipe = job.recipe.model_copy(update={"steps": 1})
    return replace(job, pictures=tuple(replace(one, load_mask=None) for one in job.pictures), recipe=recipe)


def hooks(stop_after: int = 0, notes: list[str] | None = None) -> TrainHooks:
    """Of a run that is told to stop after so many steps; never, if 0."""
    stop = threading.Event()

    def on_step(done: int, loss: float) -> None:
        if done == stop_after:
            stop.set()

    return TrainHooks(stop.is_set, on_step, (notes if notes is not None else []).append, lambda text: None)


def largest_difference(one: Image.Image, other: Image.Image) -> int:
    """Of any pixel, in levels of grey."""
    return int(np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).max())
