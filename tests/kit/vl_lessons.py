"""A short training of a small vision-language model."""

from pathlib import Path

from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.engine.vl_job import VlLesson, VlTrainJob
from flenwheel_core.models.qwen_vl.proof_pictures import patchwork
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe

RECIPE = TrainingRecipe(
    steps=6, batch_size=2, learning_rate=1e-2, warmup_steps=0, min_images=1, log_every=1, lora=LoraRecipe(rank=4)
)


def hooks(stop_after: int = 99) -> TrainHooks:
    """Told to stop after so many steps."""
    done: list[int] = []
    return TrainHooks(
        lambda: len(done) >= stop_after, lambda step, _: done.append(step), lambda _: None, lambda _: None
    )


def job(folder: Path, recipe: TrainingRecipe = RECIPE) -> VlTrainJob:
    """Three lessons about three pictures."""
    pictures = [patchwork(seed, 112) for seed in range(3)]
    answers = ("a red cat on a sofa", "yes", "no: the hair is another")
    lessons = tuple(
        VlLesson((picture.copy,), f"What of picture {index}?", answer)
        for index, (picture, answer) in enumerate(zip(pictures, answers, strict=True))
    )
    return VlTrainJob("run", "lesson", lessons, recipe, 3, folder)
