"""What counts in a lesson of the editor: what the edit changed, and where the editor was wrong, a weight for each target token."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from flenwheel_core.engine.edit_job import EditLesson, EditTrainJob
from flenwheel_core.images.difference import changed_region

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class LessonWeights:
    """How much a lesson counts, as a whole and place by place."""

    region: torch.Tensor | None = None
    """(target tokens, 1) loss weights; None: all places alike."""
    wrong: torch.Tensor | None = None
    """(target tokens, 1), 0 to 1: where the editor's own answer was wrong. None: everywhere, nobody knows that answer."""
    frequency: float = 1.0
    """How often it is drawn, next to others."""


EVEN = LessonWeights()


def lesson_weights(job: EditTrainJob, lesson: EditLesson, rows: int, columns: int) -> LessonWeights:
    """The weights of a lesson whose target is a grid of so many tokens."""
    region, wrong = _region(job, lesson, rows, columns), _wrong(job, lesson, rows, columns)
    return LessonWeights(region, wrong, lesson.weight)


def _region(job: EditTrainJob, lesson: EditLesson, rows: int, columns: int) -> torch.Tensor | None:
    """(target tokens, 1) loss weights: where the edit changes the picture, where it must not, and where the editor was wrong."""
    wrong = lesson.load_rejected if job.mistake_weight != 1 else None
    if job.changed_weight == job.kept_weight and wrong is None:
        return None
    target = lesson.load_target()
    changed = _between(lesson.load_source(), target, rows, columns)
    weights = job.kept_weight + (job.changed_weight - job.kept_weight) * changed
    if wrong is not None:
        weights = weights * (1 + (job.mistake_weight - 1) * _mistake(wrong(), target, rows, columns))
    return weights


def _wrong(job: EditTrainJob, lesson: EditLesson, rows: int, columns: int) -> torch.Tensor | None:
    """(target tokens, 1): where the editor's own answer was wrong; None if its answer is not known, or nobody asks."""
    if (job.anchor == 0 and not job.compares) or (lesson.load_rejected is None and not lesson.approved):
        return None
    if lesson.load_rejected is None:
        return torch.zeros(rows * columns, 1)
    return _mistake(lesson.load_rejected(), lesson.load_target(), rows, columns)


def _mistake(rejected: "Image", target: "Image", rows: int, columns: int) -> torch.Tensor:
    """(target tokens, 1): distance of an answer from the right one, by its maximum: a small mistake weighs as much as a large one."""
    mistake = _between(rejected, target, rows, columns)
    return mistake / mistake.max().clamp_min(1e-6)


def _between(first: "Image", second: "Image", rows: int, columns: int) -> torch.Tensor:
    """(target tokens, 1): how much two pictures differ, 0 to 1."""
    return torch.from_numpy(changed_region(first, second, rows, columns)).reshape(-1, 1)
