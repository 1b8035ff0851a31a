"""What an editor's trainer is given and what it gives back, without stores, tensors or models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flenwheel_core.documents.loras import LossPoint
from flenwheel_core.recipes.editor import COMPARISON_STRENGTH, Teaching
from flenwheel_core.recipes.train import TrainingRecipe

if TYPE_CHECKING:
    from PIL.Image import Image

    from flenwheel_core.documents.storages import EditorStorage


@dataclass(frozen=True)
class EditLesson:
    """One triplet; pictures are read only when they are needed."""

    prompt: str
    load_source: "Callable[[], Image]"
    load_target: "Callable[[], Image]"
    load_rejected: "Callable[[], Image] | None" = None
    """What the editor had made of it, where a person corrected that."""
    approved: bool = False
    """The target is the editor's own edit, taken as it was."""
    weight: float = 1.0
    load_references: "tuple[Callable[[], Image], ...]" = ()
    """Further pictures that the editor is given, after the source: no more than it takes."""


@dataclass(frozen=True)
class EditTrainJob:
    """A training run of the editor."""

    run: str
    """Digest of the request: names the run in its checkpoints."""
    name: str
    lessons: tuple[EditLesson, ...]
    recipe: TrainingRecipe
    changed_weight: float
    kept_weight: float
    mistake_weight: float
    seed: int
    folder: Path
    """Checkpoints and loss.jsonl: survives a crash."""
    storage: "EditorStorage | None" = None
    """How the editor's weights are stored; None: the way that fits the recipe and the card."""
    memory_level: int = 0
    distilled_guidance: float = 1.0
    """Strength of the guidance that is distilled into the editor; 1: none."""
    anchor: float = 0.0
    """How far the editor's own answers are kept where nothing was wrong with them."""
    corrections_teach: Teaching = "answer"
    comparison_strength: float = COMPARISON_STRENGTH

    @property
    def compares(self) -> bool:
        """True if what was rejected teaches too."""
        return self.corrections_teach != "answer"

    @property
    def has_pairs(self) -> bool:
        """True if some lessons are taught as pairs: their batches are twice as large."""
        return self.compares and any(lesson.load_rejected is not None for lesson in self.lessons)


@dataclass(frozen=True)
class EditTrained:
    """A finished run."""

    lora: bytes
    losses: tuple[LossPoint, ...]


def lesson_frequencies(kinds: Sequence[str], corrections_weight: float) -> list[float]:
    """How often each lesson is seen: corrections teach what the editor could not do, so they count for more."""
    return [corrections_weight if kind == "corrected" else 1.0 for kind in kinds]
