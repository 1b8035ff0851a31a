"""Screening outcomes and benchmark scorecards."""

from typing import Literal

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.images import Labels, is_unset

ScreenOutcome = Literal["pass", "unsure", "fail"]
ReasonCode = Literal[
    "identity_ok",
    "wrong_identity",
    "borderline_identity",
    "style_ok",
    "wrong_style",
    "borderline_style",
    "wrong_content",
    "no_face",
    "profile_face",
    "spoiled_face",
    "writing",
    "face_too_small",
    "extra_faces",
    "near_copy",
    "blurred",
    "badly_exposed",
    "too_small",
    "duplicate_of",
    "wrong_pose",
    "wrong_angle",
    "wrong_expression",
    "misaligned",
    "unreadable",
]


class Fingerprint(Document):
    """Reference embeddings of a character's real sources; frozen at ingest, never re-averaged with made pictures."""

    verifier: str = Field(description="name of the verifier, such as face-dlib or subject")
    verifier_version: str = Field(description="digest of its weights and preprocessing")
    images: tuple[Digest, ...] = Field(description="the sources that could be embedded")
    embeddings: tuple[tuple[float, ...], ...] = Field(description="one a source, same order")
    centroid: tuple[float, ...]
    distance: Literal["euclidean", "cosine"]
    leave_one_out: tuple[float, ...] = Field(description="distance of each source to the centroid of the others")
    threshold: float = Field(description="a distance up to this is the same character")
    unsure_above: float = Field(description="distances between the two thresholds are unsure")
    sharpness: tuple[float, ...] = Field(default=(), description="sharpness of each source, same order")


class ScreenReason(Document):
    """One thing screening found, with the figure and its limit."""

    code: ReasonCode
    value: float | None = None
    limit: float | None = None
    detail: str = ""


BELIEFS = 1
"""What made the beliefs and chances of a screening. Raise it when a reader's or a detector's figures change their meaning: limits are
then not fitted to a mixture of both."""


class Screening(Document):
    """What screening says of one candidate."""

    image: Digest
    outcome: ScreenOutcome
    reasons: tuple[ScreenReason, ...] = ()
    verifier: str
    verifier_version: str
    distance: float | None = Field(default=None, description="identity distance to the fingerprint's centroid")
    similarity: float | None = Field(default=None, description="the same as a cosine, for people to read")
    nearest_reference: Digest | None = None
    nearest_distance: float | None = None
    sharpness: float | None = None
    brightness: float | None = None
    duplicate_of: Digest | None = None
    read: Labels = Field(default_factory=Labels, description="what the reader saw: advisory")
    spoiled: float | None = Field(
        default=None, exclude_if=is_unset, description="chance that its face is spoiled; None where nobody looked"
    )
    beliefs: int | None = Field(
        default=None,
        exclude_if=is_unset,
        description="BELIEFS of the time; None: of before, when reasons carried none and of a face's skin nothing was known",
    )


class CellScore(Document):
    """How one cell of the model card came out."""

    cell: str
    image: Digest
    seed: int
    passed: bool
    measured: bool = Field(default=True, description="False: nothing could be told, such as no face in a profile")
    identity: float | None = Field(description="cosine to the fingerprint's centroid")
    angle_ok: bool | None = None
    expression_ok: bool | None = None
    pose_ok: bool | None = None
    reasons: tuple[ScreenReason, ...] = ()
    content: float | None = Field(
        default=None, exclude_if=is_unset, description="share of what its prompt asks for that the reader sees"
    )


class StyleScore(Document):
    """How near many pictures are to a style, and what that costs."""

    distance: float = Field(
        description="distance of distributions to held-out paintings, in their spreads; 0 is the style"
    )
    low: float = Field(description="95 % interval")
    high: float
    parts: dict[str, float] = Field(description="the distance of each feature, and of the palette")
    content: float | None = Field(description="share of what prompts ask for that is seen; None: nobody could tell")
    copied: int = Field(description="pictures that repeat a painting which was trained on")


class BleedScore(Document):
    """How often a LoRA gives its character's face to somebody else."""

    pictures: int = Field(description="drawn for it")
    measured: int = Field(description="of them show somebody else who can be told")
    rate: float | None = Field(
        description="share of the measured ones in which that somebody is the character; None: none measured"
    )
    low: float = Field(description="95 % Wilson interval")
    high: float

    def text(self) -> str:
        """For a table."""
        if self.rate is None:
            return f"not measurable in {self.pictures} pictures"
        return f"{self.rate:.0%} ({self.low:.0%} to {self.high:.0%}) of {self.measured}"


class LikenessScore(Document):
    """How like drawn pictures are to real ones that were never trained on."""

    photos: int = Field(description="held-out real pictures that could be embedded")
    drawn: float = Field(description="mean cosine of the drawn pictures to their centre")
    real: float | None = Field(
        description="mean cosine of each of them to the centre of the others: what real ones reach; None: one only"
    )

    def text(self) -> str:
        """For a table."""
        real = "" if self.real is None else f"; real ones among themselves {self.real:.3f}"
        return f"{self.drawn:.3f} ({self.photos} held-out photos{real})"


class Scorecard(Document):
    """The model card of one LoRA (or of the bare base model)."""

    lora: Digest | None
    cells: tuple[CellScore, ...]
    pass_rate: float = Field(description="first-try pass rate over cells x seeds, 0 to 1")
    pass_rate_low: float = Field(description="95 % Wilson interval")
    pass_rate_high: float
    identity: float = Field(
        description="mean cosine to the fingerprint's centroid; of a style: whether manner leaves the ordinary alike"
    )
    identity_p05: float = Field(description="5 % quantile of the same")
    angle_rate: float | None = None
    expression_rate: float | None = None
    pose_rate: float | None = None
    diversity: float = Field(description="Vendi score: the effective number of different pictures")
    centroid: tuple[float, ...] = Field(default=(), description="mean direction of the pictures' identity embeddings")
    drift: float | None = Field(default=None, description="cosine distance of the identity centroid since turn 1")
    prompt_fidelity: float | None = Field(
        default=None, description="CLIP-T, if the verifier is a CLIP with its text side"
    )
    real_likeness: LikenessScore | None = Field(
        default=None, exclude_if=is_unset, description="to held-out real pictures; None: none were kept back"
    )
    bleed: BleedScore | None = Field(
        default=None, exclude_if=is_unset, description="how often somebody else gets the character's identity"
    )
    style: StyleScore | None = Field(default=None, exclude_if=is_unset, description="of a style's LoRA; else None")
    verifier: str
    verifier_version: str

    @property
    def likeness(self) -> str:
        """How alike its pictures are to the subject, in words and a figure."""
        if self.style is None:
            return f"identity {self.identity:.3f}"
        return f"style distance {self.style.distance:.2f} ({self.style.low:.2f} to {self.style.high:.2f})"


class Comparison(Document):
    """Champion against challenger on the same prompts and seeds."""

    promote: bool
    reasons: tuple[str, ...] = Field(description="plain sentences: why it is promoted or kept back")
    pass_rate_gain: float
    identity_gain: float
    diversity_gain: float
    p_value: float | None = Field(default=None, description="paired test on the cells that differ")
    collapse_alarm: bool = False
    style_gain: float | None = Field(
        default=None, exclude_if=is_unset, description="by how much the challenger is nearer to the style"
    )
