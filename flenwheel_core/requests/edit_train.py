"""Request and result of the stage `edit_train`: training the editor's LoRA."""

from pydantic import Field

from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.images import is_unset
from flenwheel_core.documents.loras import LoraRecord, LossPoint
from flenwheel_core.documents.storages import EditorStorage
from flenwheel_core.recipes.editor import Teaching
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.base import StageRequest, StageResult


class EditTrainRequest(StageRequest):
    stage = "edit_train"
    version = 2  # picture tokens in the prompt are counted in rows and columns

    name: str
    triplets: Digest = Field(description="blob: the TripletSet to train on")
    editor: str
    recipe: TrainingRecipe
    changed_weight: float = 1.0
    kept_weight: float = 1.0
    corrections_weight: float = 1.0
    mistake_weight: float | None = Field(
        default=None, exclude_if=is_unset, description="loss weight where a corrected edit had gone wrong; None: 1"
    )
    distilled_guidance: float | None = Field(
        default=None, exclude_if=is_unset, description="strength of the guidance distilled into the editor; None: 1"
    )
    anchor: float | None = Field(
        default=None, exclude_if=is_unset, description="how far the editor's own right answers are kept; None: 0"
    )
    corrections_teach: Teaching | None = Field(
        default=None, exclude_if=is_unset, description="what corrected edits teach; None: the answer alone"
    )
    comparison_strength: float | None = Field(
        default=None,
        exclude_if=is_unset,
        description="beta of the comparison with what was rejected; None: the usual one",
    )
    storage: EditorStorage | None = None
    seed: int


class EditTrainResult(StageResult):
    lora: LoraRecord
    losses: tuple[LossPoint, ...]

    def summary(self) -> str:
        loss = f", last loss {self.losses[-1].loss:.4f}" if self.losses else ""
        return f"editor LoRA {self.lora.name}: {self.lora.steps} steps on {self.lora.images} triplets{loss}"
