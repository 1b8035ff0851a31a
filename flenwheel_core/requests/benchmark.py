"""Request and result of the stage `benchmark`."""

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Sampler, is_empty, is_unset
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.documents.scores import Comparison, Fingerprint, Scorecard
from flenwheel_core.recipes.benchmark import BenchmarkRecipe
from flenwheel_core.recipes.screening import ScreeningRecipe
from flenwheel_core.requests.base import StageRequest, StageResult


class StyleMeasure(Document):
    """What a style's pictures are held against."""

    held_out: Digest = Field(description="image set of the paintings that are only measured against")
    paintings: Digest = Field(description="image set of the paintings that were trained on")
    content_margin: float = Field(description="the share of content that is kept may fall by this much")
    content: str | None = Field(
        default=None, exclude_if=is_unset, description="a CLIP that tells how well pictures fit their prompts"
    )
    csd: str | None = Field(
        default=None, exclude_if=is_unset, description="a CSD model that ranks pictures by how they are painted"
    )


class BenchmarkRequest(StageRequest):
    stage = "benchmark"
    version = 2  # since then diversity counts pictures that are not nearly copies of each other

    character: CharacterRef
    base: str
    challenger: Digest | None = Field(description="LoRA file; None measures the bare base model")
    champion: Digest | None = Field(default=None, description="LoRA file to compare with")
    lora_weight: float = 1.0
    fingerprint: Fingerprint
    first_turn: Scorecard | None = Field(default=None, description="scorecard of turn 1, for drift")
    verifier: str
    reader: str | None = None
    items: tuple[GenerateItem, ...] = Field(
        description="prompts and seeds of the cells: evaluation.model_card.model_card_items"
    )
    held_out: Digest | None = Field(
        default=None, exclude_if=is_unset, description="image set of real pictures that are never trained on"
    )
    bleed_items: tuple[GenerateItem, ...] = Field(
        default=(), exclude_if=is_empty, description="prompts and seeds of evaluation.bleed.bleed_items"
    )
    screening: ScreeningRecipe = Field(
        default_factory=ScreeningRecipe, description="limits a picture must hold to pass"
    )
    recipe: BenchmarkRecipe
    sampler: Sampler
    style: StyleMeasure | None = Field(
        default=None, exclude_if=is_unset, description="what a style is measured against; None for a character"
    )


class BenchmarkResult(StageResult):
    challenger: Scorecard
    champion: Scorecard | None
    comparison: Comparison | None
    images: Digest = Field(description="image set of all benchmark pictures")
    grid: Digest = Field(description="picture: the card's cells, champion beside challenger")

    def summary(self) -> str:
        text = f"first-try pass rate {self.challenger.pass_rate:.0%}, {self.challenger.likeness}"
        if self.champion is not None and self.comparison is not None:
            text += f" (champion {self.champion.pass_rate:.0%}, {self.champion.likeness}): "
            text += "promote" if self.comparison.promote else "keep the champion"
        return text
