"""Request and result of the stage `vl_train`: a vision-language model learns captions, judgements and reasons."""

from typing import Literal

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.loras import LoraRecord, LossPoint
from flenwheel_core.recipes.captioner import VlBackend, is_own
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.base import StageRequest, StageResult


class VlItem(Document):
    """One lesson: a question about pictures, and the answer to learn."""

    kind: Literal["caption", "judgement", "reason"]
    images: tuple[Digest, ...] = Field(min_length=1, description="pictures, in the order that the question counts them")
    question: str = Field(default="", description="empty: what the captioner asks about a picture")
    answer: str
    weight: float = Field(default=1.0, gt=0, description="how often it is seen, against the others")


class VlTrainRequest(StageRequest):
    stage = "vl_train"

    name: str
    model: str = Field(description="resolved reference of the vision-language model")
    items: tuple[VlItem, ...]
    recipe: TrainingRecipe
    most_pixels: int | None = Field(default=None, ge=1, description="larger pictures are shown smaller")
    seed: int
    backend: VlBackend = Field(
        default="own",
        exclude_if=is_own,
        description="what trains: this package, or Unsloth in an interpreter of its own",
    )


class VlTrainResult(StageResult):
    lora: LoraRecord
    losses: tuple[LossPoint, ...]
    eyes: Digest = Field(description="the vision side's weights: they saw, and did not learn")

    def summary(self) -> str:
        loss = f", last loss {self.losses[-1].loss:.4f}" if self.losses else ""
        return f"captioner's LoRA {self.lora.name}: {self.lora.steps} steps on {self.lora.images} pictures{loss}"
