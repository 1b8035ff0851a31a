"""Choices of the model-card benchmark and of the promotion rule."""

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.documents.images import is_empty


class BenchmarkRecipe(Document):
    """The same 23 cells, prompts and seeds for champion and challenger."""

    seeds_per_cell: int = Field(default=2, ge=1, le=16, description="pictures drawn for each of the 23 cells")
    bleed_pictures: int = Field(
        default=0,
        exclude_if=is_empty,
        ge=0,
        le=64,
        description="pictures of a person beside somebody else, or of another of the class without the trigger, that show "
        "whether the LoRA bleeds into others",
    )
    seed: int = Field(default=23, ge=0, description="the seeds of all cells derive from this one")
    background: str = Field(default="studio", description="background asked for in every cell")
    lighting: str = Field(default="day", description="lighting asked for in every cell")
    target_pass_rate: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="the flywheel may stop when the first-try pass rate reaches this",
    )
    identity_margin: float = Field(
        default=0.01,
        ge=0,
        le=0.5,
        description="mean identity may fall by at most this, unless noise explains more",
    )
    diversity_margin: float = Field(
        default=0.12,
        ge=0,
        le=1,
        description="diversity may fall by at most this share of the champion's",
    )
    significance: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="paired tests below this p-value count as a real difference",
    )
    collapse_diversity_drop: float = Field(
        default=0.15,
        gt=0,
        le=1,
        description="alarm when diversity is lower by this share while identity is not lower",
    )
