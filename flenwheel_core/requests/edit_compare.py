"""Request and result of the stage `edit_compare`: two editors on the same held-out edits."""

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.images import Labels, LoraUse, Sampler, is_empty, is_unset
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.documents.storages import EditorStorage
from flenwheel_core.requests.base import StageRequest, StageResult

REPEAT = "."
"""Stands in a key between a held-out edit and the number of its repeat with another seed."""


class ComparedEdit(Document):
    """A held-out edit with its right answer."""

    key: str
    source: Digest
    prompt: str
    target: Digest = Field(description="what a person approved or corrected")
    corrected: bool = Field(description="the right answer is a person's; an approved edit is only the old editor's own")
    rejected: Digest | None = Field(
        default=None, exclude_if=is_unset, description="the edit that was corrected, if it is known"
    )
    character: str
    labels: Labels = Field(default_factory=Labels, description="what the result must show")
    seed: int
    references: tuple[Digest, ...] = Field(
        default=(), exclude_if=is_empty, description="further pictures that the editors are given, after the source"
    )


class EditCompareRequest(StageRequest):
    stage = "edit_compare"
    version = 2  # as above

    items: tuple[ComparedEdit, ...]
    editor: str
    champion: tuple[LoraUse, ...] = Field(
        default=(), description="LoRAs of the present editor; none is the bare editor"
    )
    challenger: tuple[LoraUse, ...]
    together: dict[str, LoraUse] = Field(
        default_factory=dict,
        exclude_if=is_empty,
        description="by character: its own LoRA on the same model, worn beside the challenger's in a third look",
    )
    fingerprints: dict[str, Fingerprint] = Field(default_factory=dict, description="by character")
    verifier: str
    reader: str | None = None
    sampler: Sampler
    storage: EditorStorage | None = None
    shift: float | None = Field(
        default=None, gt=0, exclude_if=is_unset, description="fixed shift, for few-step LoRAs; None: the model's own"
    )
    kept_margin_db: float | None = Field(
        default=None,
        ge=0,
        exclude_if=is_unset,
        description="PSNR outside of the edits that the challenger may lose; None: the rule's own",
    )
    significance: float | None = Field(
        default=None, exclude_if=is_unset, description="a gain is believed with p below this; None: the rule's own"
    )
    identity_margin: float | None = Field(
        default=None, exclude_if=is_unset, description="mean identity that may be lost; None: the rule's own"
    )


class EditScore(Document):
    """How one editor did one held-out edit."""

    key: str
    image: Digest
    passed: bool = Field(description="character kept and instruction followed, as far as could be told")
    identity: float | None = Field(description="cosine to the fingerprint's centroid; None if nothing could be told")
    identity_kept: bool | None
    followed: bool | None = Field(description="the reader sees what the labels ask for; None if it can't tell")
    target_error: float | None = Field(
        description="mean difference to the corrected answer, levels of 255; None for approved edits"
    )
    nearness: float | None = Field(
        default=None,
        description="levels of 255 by which it is nearer to the right answer than to the rejected one, where that was "
        "corrected; None if the rejected one is not known",
    )
    kept_psnr_db: float | None = Field(description="against the source, where the right answer leaves it unchanged")
    kept_ssim: float | None


class EditorScorecard(Document):
    """How one editor did all held-out edits."""

    loras: tuple[LoraUse, ...]
    edits: tuple[EditScore, ...]
    pass_rate: float
    pass_rate_low: float
    pass_rate_high: float
    identity: float | None
    followed_rate: float | None
    target_error: float | None
    nearness: float | None = None
    kept_psnr_db: float | None
    kept_ssim: float | None


class EditorComparison(Document):
    """The challenger against the present editor on the same edits and seeds."""

    promote: bool
    reasons: tuple[str, ...] = Field(description="plain sentences: why it is promoted or kept back")
    pass_rate_gain: float
    pass_rate_p_value: float = Field(description="paired sign-flip test; an edit made several times counts once")
    identity_gain: float | None
    nearness_gain: float | None = Field(
        default=None,
        description="positive: the challenger leans more to the right answers, away from the rejected ones",
    )
    nearness_p_value: float = Field(default=1.0, description="paired sign-flip test; 1 without corrected edits")
    target_error_gain: float | None = Field(default=None, description="of comparisons before nearness was measured")
    target_error_p_value: float | None = Field(default=None, description="likewise")


class WornTogether(Document):
    """The challenger with each character's own LoRA beside it, against the challenger alone, on the same edits and seeds."""

    allowed: bool = Field(description="nothing is shown to be worse")
    reasons: tuple[str, ...]
    alone: EditorScorecard
    together: EditorScorecard


class EditCompareResult(StageResult):
    champion: EditorScorecard
    challenger: EditorScorecard
    comparison: EditorComparison
    together: WornTogether | None = Field(
        default=None, exclude_if=is_unset, description="None where characters and editor have different models"
    )
    images: Digest = Field(description="image set: the champion's edits, then the challenger's")
    sheet: Digest = Field(description="picture: source, right answer, champion, challenger")

    def summary(self) -> str:
        verdict = "promote" if self.comparison.promote else "keep the present editor"
        text = f"held-out edits passed {self.challenger.pass_rate:.0%} (before {self.champion.pass_rate:.0%})"
        if self.challenger.nearness is not None and self.champion.nearness is not None:
            text += f", nearness {self.challenger.nearness:+.1f} (before {self.champion.nearness:+.1f})"
        return f"{text}: {verdict}"
