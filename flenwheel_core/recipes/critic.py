"""The choices about the critic: whether it learns, and what it may do without a person."""

from pydantic import Field, model_validator

from flenwheel_core.base.document import Document
from flenwheel_core.recipes.captioner import captioner_training
from flenwheel_core.recipes.train import TrainingRecipe


class VisionCriticRecipe(Document):
    """A vision-language model that learns verdicts: the rung `vision` of the critic's ladder."""

    learns: bool = Field(
        default=False,
        description="In a turn of the critic the model that captions learns the verdicts, too, once for each part of the turns that is "
        "held out. What it says is used if it beats the rungs below on held-out turns.",
    )
    train: TrainingRecipe = Field(
        default_factory=captioner_training, description="Training of its LoRAs, on its language layers alone."
    )
    most_pixels: int | None = Field(
        default=512 * 512, ge=28 * 28, description="Larger pictures are shown to it smaller; as they are if unset."
    )
    seed: int = Field(default=0, ge=0, description="Seed of the training.")


def sees_nothing(value: object) -> bool:
    """For `exclude_if`: a recipe that says nothing of this keeps the digest it had before."""
    return value == VisionCriticRecipe()


class CriticRecipe(Document):
    """The critic learns from verdicts, puts the pictures of a gate in order and, if it is allowed to, sets the hopeless ones aside."""

    learns: bool = Field(
        default=True, description="Learn from every closed gate, and put the pictures of the next one in order."
    )
    embeddings: bool = Field(
        default=True,
        description="Let it read the verifier's embeddings, too; each picture is embedded once, on the processor.",
    )
    random_share: float = Field(
        default=0.15,
        ge=0.1,
        le=0.5,
        description="Share of a gate's pictures whose place is drawn by lot; they measure the critic fairly.",
    )
    reject: bool = Field(
        default=False,
        description="Set pictures aside that the critic promoted at gate D finds hopeless; it never approves any.",
    )
    most_lost: float = Field(
        default=0.02,
        gt=0,
        le=0.2,
        description="Share of good pictures that may be lost by it; nothing is set aside without proof.",
    )
    confidence: float = Field(default=0.95, ge=0.5, le=0.999, description="Confidence with which that must be proven.")
    audit_share: float = Field(
        default=0.1,
        ge=0.05,
        le=0.5,
        description="Share of the rejected pictures that is drawn by lot and shown all the same, for ever.",
    )
    minimum_verdicts: int = Field(default=40, ge=1, description="A turn of the critic asks for so many verdicts.")
    train_after: int = Field(
        default=50, ge=1, description="The automatic turn of the critic waits for so many new verdicts."
    )
    vision: VisionCriticRecipe = Field(
        default_factory=VisionCriticRecipe,
        exclude_if=sees_nothing,
        description="A vision-language model that learns verdicts.",
    )

    @model_validator(mode="after")
    def _audit_is_drawn_too(self) -> "CriticRecipe":
        if self.audit_share > self.random_share:
            raise ValueError("audit_share must not exceed random_share: the audit is a part of what is drawn by lot")
        return self


def is_default(value: object) -> bool:
    """For `exclude_if`: a recipe that says nothing of the critic keeps the digest it had before there was one."""
    return value == CriticRecipe()
