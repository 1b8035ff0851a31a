"""The choices of Flywheel 2: how the editor learns from its corrections."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from flenwheel_core.base.document import Document
from flenwheel_core.documents.images import is_one, is_unset
from flenwheel_core.documents.storages import EditorStorage
from flenwheel_core.recipes.train import SamplingRecipe, TrainingRecipe

Teaching = Literal["answer", "comparison", "both"]
COMPARISON_STRENGTH = 500.0


def _training() -> TrainingRecipe:
    return TrainingRecipe(steps=600, caption_dropout=0.05, sampling=SamplingRecipe(every_steps=0))


class EditorRecipe(Document):
    """Collecting triplets, training the editor's LoRA, comparing it with the champion."""

    train: TrainingRecipe = Field(
        default_factory=_training,
        description="Training of the editor's LoRA; resolution is the side of the target's pixel area.",
    )
    changed_weight: float = Field(
        default=1.0, gt=0, le=100, description="Loss weight where the edit changes the source."
    )
    kept_weight: float = Field(
        default=1.0, ge=0, le=100, description="Loss weight where it must leave the source as it is."
    )
    storage: EditorStorage | None = Field(
        default=None,
        description="Storage of the editor's weights; unset or 'auto': what its family takes on the card.",
    )
    minimum_triplets: int = Field(default=10, ge=2, description="Gate C asks for so many good triplets.")
    train_after: int = Field(default=20, ge=1, description="The automatic run waits for so many new triplets.")
    corrections_weight: float = Field(
        default=2.0, gt=0, le=100, description="How often a corrected edit is trained on, against an approved one."
    )
    mistake_weight: float | None = Field(
        default=None,
        gt=0,
        le=100,
        exclude_if=is_unset,
        description="Loss weight where the editor's own answer differed most from the corrected one; 1 if unset.",
    )
    distilled_guidance: float | None = Field(
        default=None,
        ge=1,
        le=20,
        exclude_if=is_unset,
        description="Strength of the guidance that is distilled into the editor, which then edits at true_cfg 1; 1 if unset.",
    )
    anchor: float | None = Field(
        default=None,
        ge=0,
        le=1,
        exclude_if=is_unset,
        description="How far the bare editor's own answer is the target where a person found nothing wrong; 0 if unset.",
    )
    corrections_teach: Teaching | None = Field(
        default=None,
        exclude_if=is_unset,
        description="What a corrected edit teaches: 'answer' the corrected picture, 'comparison' that it is better than what the editor "
        "had made of it, or 'both'; 'answer' if unset. A comparison takes twice the memory and time of a step.",
    )
    comparison_strength: float | None = Field(
        default=None,
        gt=0,
        le=100_000,
        exclude_if=is_unset,
        description="The higher, the sooner a pair that the editor already tells apart teaches nothing more "
        f"(beta of DPO); {COMPARISON_STRENGTH:g} if unset.",
    )
    holdout_share: float = Field(default=0.2, gt=0, lt=1, description="Share of the edits kept for the comparison.")
    compared_edits: int = Field(default=24, ge=2, le=1000, description="Held-out edits to compare on, at most.")
    compared_seeds: int = Field(
        default=1,
        ge=1,
        le=16,
        exclude_if=is_one,
        description="How often each held-out edit is made, with other seeds: few edits then tell two editors apart sooner.",
    )
    kept_margin_db: float | None = Field(
        default=None,
        ge=0,
        le=20,
        exclude_if=is_unset,
        description="A new editor may lose this much PSNR outside of the edits; 0.5 if unset.",
    )
    identity_margin: float | None = Field(
        default=None,
        ge=0,
        le=0.5,
        exclude_if=is_unset,
        description="With a new editor the mean identity may fall by at most this; 0.02 if unset.",
    )
    significance: float | None = Field(
        default=None,
        gt=0,
        lt=0.5,
        exclude_if=is_unset,
        description="A gain of a new editor is believed with a p-value below this (paired tests); 0.05 if unset.",
    )
    lora_weight: float = Field(default=1.0, ge=0, le=2, description="Weight the editor's LoRA is applied with.")
    seed: int = Field(default=0, ge=0, description="Seed of the training and of the compared edits.")

    @property
    def compares(self) -> bool:
        """True if a corrected edit is trained on together with the one it corrects: two pictures a step."""
        return self.corrections_teach in ("comparison", "both")

    @model_validator(mode="after")
    def _strength_has_pairs(self) -> Self:
        if self.comparison_strength is not None and not self.compares:
            raise ValueError("comparison_strength does nothing without corrections_teach = 'comparison' or 'both'")
        return self

    @field_validator("storage", mode="before")
    @classmethod
    def _chosen_for_the_card(cls, storage: object) -> object:
        """`auto` is a word for unset: a recipe that extends another cannot take a key away."""
        return None if storage == "auto" else storage

    @model_validator(mode="after")
    def _one_card(self) -> Self:
        if self.train.processes > 1:
            raise ValueError("the editor trains on one card; leave train.gpus and train.hosts out")
        return self
