"""Request and result of the stage `caption_compare`: two captioners on the same held-out pictures."""

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.images import LoraUse
from flenwheel_core.requests.base import StageRequest, StageResult


class ComparedCaption(Document):
    """A held-out picture with its right caption."""

    image: Digest
    caption: str
    trigger: str
    corrected: bool = Field(description="the caption is a person's; otherwise a person let it stand")


class CaptionCompareRequest(StageRequest):
    stage = "caption_compare"

    items: tuple[ComparedCaption, ...]
    captioner: str = Field(description="resolved reference of the vision-language model")
    champion: tuple[LoraUse, ...] = Field(
        default=(), description="LoRAs of the present captioner; none is the bare model"
    )
    challenger: tuple[LoraUse, ...]
    significance: float


class SaidCaption(Document):
    """What one captioner said of one picture."""

    image: Digest
    said: str
    words: float = Field(description="F1 of its words against those of the right caption, 0 to 1")
    labels_right: int = Field(description="of the labels that the right caption states: angle, expression, pose, ...")
    labels: int
    named: bool = Field(description="the character's trigger is in it")
    traits: tuple[str, ...] = Field(description="words for what never changes about a character")


class CaptionScorecard(Document):
    """How one captioner did all held-out pictures."""

    captions: tuple[SaidCaption, ...]
    words: float
    labels_right: float | None = Field(description="share; None where the right captions state none")
    named: float
    with_traits: float = Field(description="share of captions that describe what never changes")


class CaptionComparison(Document):
    """The new captioner against the present one."""

    promote: bool
    reasons: tuple[str, ...] = Field(description="plain sentences: why it is promoted or kept back")
    words_gain: float
    words_p_value: float = Field(description="paired sign-flip test over pictures")


class CaptionCompareResult(StageResult):
    champion: CaptionScorecard
    challenger: CaptionScorecard
    comparison: CaptionComparison

    def summary(self) -> str:
        return f"{'promoted' if self.comparison.promote else 'kept back'}: {'; '.join(self.comparison.reasons)}"
