"""The choices of the captioner's learning."""

from typing import Literal

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.recipes.train import LoraRecipe, PriorRecipe, SamplingRecipe, TrainingRecipe

VlBackend = Literal["own", "unsloth"]


def is_own(value: object) -> bool:
    """For `exclude_if`: what says nothing of a backend keeps the digest it had before there was a choice."""
    return value == "own"


def captioner_training() -> TrainingRecipe:
    """Training of a vision-language model's LoRA as it is if a recipe says nothing."""
    return TrainingRecipe(
        steps=300,
        min_epochs=4,
        batch_size=4,
        min_images=1,
        warmup_steps=20,
        schedule="cosine",
        weight_format="nf4",
        lora=LoraRecipe(rank=16),
        prior=PriorRecipe(method="off"),
        sampling=SamplingRecipe(every_steps=0),
    )


class CaptionerRecipe(Document):
    """The captioner learns from captions that people wrote, and is promoted if it comes nearer to them."""

    train: TrainingRecipe = Field(
        default_factory=captioner_training,
        description="Training of the captioner's LoRA, on its language layers alone.",
    )
    most_pixels: int | None = Field(
        default=512 * 512, ge=28 * 28, description="Larger pictures are shown to it smaller; as they are if unset."
    )
    backend: VlBackend = Field(
        default="own",
        exclude_if=is_own,
        description="What trains the captioner: this package, or Unsloth in an interpreter of its own (setting unsloth_python).",
    )
    minimum_captions: int = Field(default=20, ge=2, description="A turn asks for so many captions that people wrote.")
    train_after: int = Field(default=20, ge=1, description="The automatic turn waits for so many new ones.")
    holdout_share: float = Field(
        default=0.25,
        gt=0,
        lt=1,
        description="Share of the captions kept for the comparison; which ones is drawn by lot.",
    )
    significance: float = Field(default=0.05, gt=0, le=0.5, description="A gain is believed with p below this.")
    seed: int = Field(default=0, ge=0, description="Seed of the training.")


def is_default(value: object) -> bool:
    """For `exclude_if`: a recipe that says nothing of the captioner's learning keeps the digest it had before there was any."""
    return value == CaptionerRecipe()
