"""What is known of one picture: where it came from, what it shows, how it was made."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.framings import Framing

Angle = Literal["front", "half-left", "half-right", "profile-left", "profile-right"]
Expression = Literal["neutral", "smiling", "angry", "sad"]
Pose = Literal["portrait", "t-pose", "standing", "sitting"]

ANGLES: tuple[Angle, ...] = ("front", "half-left", "half-right", "profile-left", "profile-right")
EXPRESSIONS: tuple[Expression, ...] = ("neutral", "smiling", "angry", "sad")
POSES: tuple[Pose, ...] = ("portrait", "t-pose", "standing", "sitting")


class ImageKind(StrEnum):
    """How a picture came to be."""

    SOURCE = "source"
    ENRICHED = "enriched"
    CORRECTED = "corrected"
    SYNTHETIC = "synthetic"
    INJECTED = "injected"


class Labels(Document):
    """What a picture shows, as far as known; None where nobody said."""

    angle: Angle | None = None
    expression: Expression | None = None
    pose: Pose | None = None
    background: str | None = None
    lighting: str | None = None
    clothing: str | None = None
    style: str | None = None


class LoraUse(Document):
    """A LoRA file and the weight it is applied with."""

    digest: Digest
    weight: float = 1.0


def is_unset(value: object) -> bool:
    """For `exclude_if`: a field that was added later is left out of the document while it is None, so that what was stored before keeps its
    digest."""
    return value is None


def is_empty(value: object) -> bool:
    """As `is_unset`, for collections and counts in which nothing says nothing."""
    return not value


def is_one(value: object) -> bool:
    """As `is_unset`, for fields in which 1 says nothing."""
    return value == 1


class Sampler(Document):
    """How a picture is drawn."""

    steps: int = Field(default=20, ge=1, le=200, description="Denoising steps.")
    guidance: float = Field(default=3.5, ge=0, le=30, description="Guidance embedding of FLUX.1-dev; not CFG.")
    true_cfg: float = Field(default=1.0, ge=0, le=30, description="Classifier-free guidance; 1 is off.")
    width: int = Field(default=1024, ge=64, le=4096, description="Width in pixels.")
    height: int = Field(default=1024, ge=64, le=4096, description="Height in pixels.")


class ImageRecord(Document):
    """One picture of the training pool or of a candidate set.

    `digest` names the stored PNG. Nothing here is dated: the same work gives the same record.
    """

    digest: Digest
    width: int
    height: int
    kind: ImageKind
    parents: tuple[Digest, ...] = Field(default=(), description="the pictures this one was made from")
    prompt: str | None = Field(default=None, description="the edit or generation prompt")
    caption: str | None = Field(default=None, description="the training caption, with trigger and class word")
    seed: int | None = None
    sampler: Sampler | None = None
    model: str | None = Field(default=None, description="resolved model reference with revision")
    loras: tuple[LoraUse, ...] = ()
    stage: str = Field(description="the stage that made it")
    request: Digest = Field(description="digest of that stage's request")
    item: str = Field(description="the key of the item within that request; for a source its file name")
    turn: int = 0
    template: str | None = Field(default=None, description="id of the prompt template")
    cell: str | None = Field(default=None, description="the model-card cell it was made for")
    labels: Labels = Field(default_factory=Labels, description="what was asked for, or what was read from it")
    mask: Digest | None = Field(
        default=None,
        exclude_if=is_unset,
        description="a grey picture of its size: training weighs what it leaves black less",
    )
    framing: Framing | None = Field(
        default=None,
        exclude_if=is_unset,
        description="how a source was cut and masked, in shares of the picture as given",
    )
