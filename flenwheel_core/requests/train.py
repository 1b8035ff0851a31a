"""Request and result of the stage `train`."""

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Sampler, is_empty, is_unset
from flenwheel_core.documents.loras import KeptLora, LoraRecord, LossPoint, PictureLook, SampleImage
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.base import StageRequest, StageResult


class TrainItem(Document):
    """One picture of a training set."""

    image: Digest
    caption: str
    real: bool
    weight: float = 1.0
    mask: Digest | None = None
    begins: float = Field(
        default=0.0, ge=0, lt=1, exclude_if=is_empty, description="share of the training after which it is trained on"
    )


class TrainRequest(StageRequest):
    stage = "train"

    character: CharacterRef
    name: str
    items: tuple[TrainItem, ...]
    base: str
    recipe: TrainingRecipe
    seed: int
    sample_prompts: tuple[str, ...] = ()
    sampler: Sampler
    fingerprint: Fingerprint | None = Field(
        default=None, exclude_if=is_unset, description="what sample pictures are compared with"
    )
    verifier: str | None = Field(
        default=None, exclude_if=is_unset, description="embeds sample pictures for the identity curve"
    )
    keep_at: tuple[int, ...] = Field(
        default=(),
        exclude_if=is_empty,
        description="steps after which the LoRA is kept as it is then, beside the last one",
    )
    look_at: tuple[int, ...] = Field(
        default=(), exclude_if=is_empty, description="steps after which it is measured how far each picture is learned"
    )


class TrainResult(StageResult):
    lora: LoraRecord
    losses: tuple[LossPoint, ...]
    samples: tuple[SampleImage, ...]
    kept: tuple[KeptLora, ...] = Field(default=(), exclude_if=is_empty, description="the states that were to be kept")
    looks: tuple[PictureLook, ...] = Field(
        default=(), exclude_if=is_empty, description="how far each picture was learned, look after look"
    )

    def summary(self) -> str:
        loss = f", last loss {self.losses[-1].loss:.4f}" if self.losses else ""
        return f"LoRA {self.lora.name}: {self.lora.steps} steps on {self.lora.images} pictures{loss}"
