"""What a vision-language model's trainer is given and what it gives back, without stores, tensors or models."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flenwheel_core.documents.loras import LossPoint
from flenwheel_core.recipes.train import TrainingRecipe

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class VlLesson:
    """A question about pictures, and the answer to learn: a caption, a yes or no, a reason. Pictures are read only when they are needed."""

    pictures: "tuple[Callable[[], Image], ...]"
    question: str
    answer: str
    weight: float = 1.0
    """How often it is seen, against the others."""


@dataclass(frozen=True)
class VlTrainJob:
    """A training run of a vision-language model."""

    run: str
    """Digest of the request: names the run in its checkpoints."""
    name: str
    lessons: tuple[VlLesson, ...]
    recipe: TrainingRecipe
    seed: int
    folder: Path
    """Checkpoints and loss.jsonl: survives a crash."""
    most_pixels: int | None = None
    """Pictures of more are shown smaller; None: as the model's own processor says."""
    memory_level: int = 0


@dataclass(frozen=True)
class VlTrained:
    """A finished run."""

    lora: bytes
    losses: tuple[LossPoint, ...]
    eyes: str
    """Digest of the vision side's weights: the same before and after."""
