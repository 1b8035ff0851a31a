"""The critic: what it learns from, what it is, and what it says of the pictures of a gate."""

from typing import Literal

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.decisions import Verdict
from flenwheel_core.documents.images import Labels
from flenwheel_core.documents.scores import Screening

VERDICTS: tuple[Verdict, ...] = (Verdict.REJECT, Verdict.NEEDS_CORRECTION, Verdict.GOOD)
"""The three verdicts from worst to best: the order of every row of chances."""

RungName = Literal["base_rate", "identity", "screening", "embedding", "vision", "stacked"]
Block = Literal["character", "identity", "screening", "embedding", "vision"]
Level = Literal["editor", "character", "stage", "all"]


class Judgeable(Document):
    """What is known of a picture before anybody looked at it."""

    image: Digest
    character: str
    kind: str = Field(description="kind of the gate that shows it")
    editor: str = Field(default="", description="what made it: the model and, for edits, its LoRAs")
    source: Digest | None = Field(default=None, description="the picture it was made from")
    asked: Labels = Field(default_factory=Labels)
    screening: Screening | None = None
    threshold: float | None = Field(default=None, description="identity threshold of the character")
    vision: tuple[float, ...] = Field(
        default=(),
        description="log-odds of reject and needs_correction against good, from a vision model that did not learn it; "
        "of a new picture a pair from each LoRA of the looker",
    )


class CriticLesson(Judgeable):
    """One verdict of a person, with what was known before."""

    gate: str
    turn: int
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    fair: bool = Field(
        description="shown whatever the critic thought, and judged whatever its place was: only such verdicts bound a loss"
    )


class CriticLessons(Document):
    """All verdicts a critic learns from, in the order of gates."""

    lessons: tuple[CriticLesson, ...]


class Transform(Document):
    """How a block of raw figures becomes columns: standardised, then turned onto the main axes if there are any."""

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    axes: tuple[tuple[float, ...], ...] = Field(
        default=(), description="one row an axis; none leaves the columns as they are"
    )


class Fitted(Document):
    """A rung of the ladder with its weights."""

    rung: RungName
    blocks: tuple[Block, ...]
    transforms: tuple[Transform, ...] = Field(description="one a block")
    weights: tuple[tuple[float, ...], ...] = Field(
        description="a row a column, the constant first, then of each block; a column a verdict"
    )
    members: tuple["Fitted", ...] = Field(default=(), description="of a stacked rung: what is stacked")


class ReasonWeights(Document):
    """How likely a reason is for a picture that is not good."""

    reason: str
    fitted: Fitted


class RungScore(Document):
    """How one rung did on held-out turns."""

    rung: RungName
    lessons: int
    log_loss: float | None = Field(description="mean, in nats; None if it could not be tried")
    auc: float | None = Field(default=None, description="good against the rest")
    gain: float | None = Field(default=None, description="log loss saved against the rung in use below it")
    gain_low: float | None = Field(default=None, description="95 % interval over groups of edits of one source")
    gain_high: float | None = None
    p_value: float | None = Field(default=None, description="paired sign-flip test over the same groups")
    used: bool
    why: str


class Calibration(Document):
    """Held-out scores of good pictures, of one character, stage and editor, or pooled."""

    level: Level
    character: str | None = None
    kind: str | None = None
    editor: str | None = None
    goods: int
    lowest: tuple[float, ...] = Field(description="the lowest scores of good pictures, rising")
    pictures: int = Field(description="held-out pictures of any verdict")


class Looker(Document):
    """A vision-language model that learned verdicts: one LoRA a fold of the ladder, each without that fold's turns."""

    model: str = Field(description="resolved reference")
    loras: tuple[Digest, ...] = Field(description="blobs, in the order of folds")
    most_pixels: int | None = Field(default=None, description="larger pictures are shown smaller")


class LookedAt(Document):
    """What a looker said of one picture."""

    image: Digest
    log_odds: tuple[float, ...] = Field(
        description="reject and needs_correction against good: a pair a LoRA that was asked"
    )


class Looks(Document):
    """What a looker said of pictures."""

    pictures: tuple[LookedAt, ...]

    def by_image(self) -> dict[Digest, tuple[float, ...]]:
        """The log-odds of each picture."""
        return {one.image: one.log_odds for one in self.pictures}


class Critic(Document):
    """A critic that has learned: the rung in use, and what it did on held-out turns."""

    rung: RungName
    fitted: Fitted
    folds: tuple[Fitted, ...] = Field(
        description="the same rung, each without some turns: only what all of them reject is rejected"
    )
    reasons: tuple[ReasonWeights, ...] = ()
    ladder: tuple[RungScore, ...]
    held_out: Literal["turns", "sources", "nothing"]
    calibrations: tuple[Calibration, ...] = ()
    verifier: str | None = Field(default=None, description="whose embeddings it reads, if it reads any")
    verifier_version: str | None = None
    looker: Looker | None = Field(default=None, description="what looks at pictures for it, if its rung reads that")
    lessons: Digest = Field(description="blob: the CriticLessons")
    count: int
    turns: int = Field(description="different turns among its lessons")


class Cut(Document):
    """Where a critic may reject without a person, and what is promised."""

    below: float = Field(description="pictures whose chance of not being rejected is below this")
    lost: int = Field(description="held-out good pictures below it")
    goods: int = Field(description="held-out good pictures")
    bound: float = Field(description="at most this share of good pictures is lost")
    confidence: float
    level: Level
    low_below: float | None = Field(
        default=None,
        description="score that a known share of held-out good pictures lie below; None in records from before",
    )
    low_rank: int = Field(default=0, description="its rank among the held-out good pictures, from the lowest")


class ScoredPicture(Document):
    """What the critic says of one picture of a gate, and where it stands."""

    image: Digest
    chances: tuple[float, float, float] | None = Field(
        description="of reject, needs_correction, good; None without a critic"
    )
    reasons: tuple[str, ...] = Field(default=(), description="likely reasons, if it is not good")
    useful_place: int = Field(description="place in the order that teaches most")
    good_place: int = Field(description="place in the order that finds good pictures soonest")
    why: str
    by_lot: bool = Field(description="its place was drawn by lot")
    says_reject: bool = Field(default=False, description="the critic would reject it within the bound")
    low: bool = Field(default=False, description="its score is below the cut's low_below: few good pictures' are")
    audit: bool = Field(default=False, description="drawn for the audit: shown whatever the critic says")
    set_aside: bool = Field(default=False, description="rejected unless a person decides otherwise")


class CriticView(Document):
    """What a critic says of the pictures of one gate. Part of the gate's record."""

    critic: Digest | None = Field(description="blob: the critic that orders; None while there is none")
    rung: RungName | None
    verdicts: int = Field(description="verdicts it learned from")
    guard: Digest | None = Field(
        default=None, description="blob: the critic that bounds the loss: the promoted one, else the one that orders"
    )
    cut: Cut | None = None
    rejects: bool = Field(default=False, description="pictures are set aside")
    look_at: int = Field(description="pictures a person would have to look at, those of the audit too")
    said: str = Field(description="one sentence for people")
    pictures: tuple[ScoredPicture, ...] = Field(description="in the gate's order")
