"""What a family's trainer is given and what it gives back, without stores, tensors or models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flenwheel_core.base.errors import InputError, RecipeError
from flenwheel_core.documents.images import Sampler
from flenwheel_core.documents.loras import LossPoint, PictureLook
from flenwheel_core.recipes.train import TrainingRecipe

if TYPE_CHECKING:
    from PIL.Image import Image

    from flenwheel_core.engine.team import Team


@dataclass(frozen=True)
class TrainPicture:
    """One picture of the training set; pixels are read only when they are needed."""

    digest: str
    caption: str
    load: "Callable[[], Image]"
    load_mask: "Callable[[], Image] | None" = None
    weight: float = 1.0
    begins: float = 0.0
    """Share of the training after which it is trained on."""


@dataclass(frozen=True)
class TrainJob:
    """A training run."""

    run: str
    """Digest of the request: names the run in its checkpoints."""
    name: str
    pictures: tuple[TrainPicture, ...]
    trigger: str | None
    class_word: str | None
    recipe: TrainingRecipe
    seed: int
    sampler: Sampler
    sample_prompts: tuple[str, ...]
    folder: Path
    """Checkpoints, loss.jsonl and samples: survives a crash."""
    memory_level: int = 0
    keep_at: tuple[int, ...] = ()
    """Steps after which the LoRA, as it is then, is kept beside the last one."""
    look_at: tuple[int, ...] = ()
    """Steps after which it is measured how far each picture is learned."""


@dataclass(frozen=True)
class TrainHooks:
    """How a trainer talks to who runs it."""

    should_stop: Callable[[], bool]
    on_step: Callable[[int, float], None]
    """(steps done, loss)."""
    note: Callable[[str], None]
    loading: Callable[[str], None]
    team: "Team | None" = None
    """The processes that train together, if there are several."""
    score: "Callable[[Sequence[Image]], Mapping[str, float]] | None" = None
    """Figures of sample pictures for the curves, such as how much the character looks like itself."""
    save_seconds: float | None = None
    """Checkpoints are at most so far apart, beside those that the recipe asks for; None: only those."""


@dataclass(frozen=True)
class SampleFile:
    """A sample picture on disk."""

    step: int
    prompt: str
    seed: int
    path: Path


@dataclass(frozen=True)
class Trained:
    """A finished run."""

    lora: bytes
    losses: tuple[LossPoint, ...]
    samples: tuple[SampleFile, ...]
    kept: tuple[tuple[int, bytes], ...] = ()
    """(step, LoRA file) of the states that were to be kept."""
    looks: tuple[PictureLook, ...] = ()
    """What was measured of each picture at each of the job's looks."""


def check_job(job: TrainJob) -> None:
    """Refuse what cannot train well, before anything loads; raises InputError or RecipeError."""
    recipe = job.recipe
    if len(job.pictures) < recipe.min_images:
        raise InputError(
            f"There are only {len(job.pictures)} pictures to train on.",
            why=f"train.min_images asks for {recipe.min_images}.",
            remedy="Add pictures, or lower train.min_images.",
        )
    blank = [picture.digest[:12] for picture in job.pictures if not picture.caption.strip()]
    if blank:
        raise InputError(
            f"{len(blank)} of {len(job.pictures)} pictures have no caption: {', '.join(blank[:5])}.",
            why="A picture without caption teaches the model to draw the character for any prompt.",
            remedy="Caption them; for deliberate empty captions use train.caption_dropout.",
        )
    if job.trigger and not any(job.trigger in picture.caption for picture in job.pictures):
        raise InputError(
            f"No caption contains the trigger {job.trigger!r}.",
            why="The trigger would mean nothing to the LoRA.",
            remedy="Put the trigger into the captions, before the class word.",
        )
    if recipe.sampling.every_steps and job.sample_prompts and recipe.sampling.prompts:
        for side in (job.sampler.width, job.sampler.height):
            if side % 16:
                raise RecipeError(
                    f"Sample pictures of {job.sampler.width}x{job.sampler.height} cannot be drawn.",
                    remedy="Use multiples of 16.",
                )


def class_caption(caption: str, trigger: str | None, class_word: str) -> str:
    """The caption with the class word in place of the trigger: what must stay as the base model draws it."""
    if not trigger or trigger not in caption:
        return f"a {class_word}, {caption}"
    for name in (f"{trigger} {class_word}", trigger):
        if name in caption:
            return caption.replace(name, f"a {class_word}")
    return caption
