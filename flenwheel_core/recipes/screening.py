"""Choices of ingest and screening."""

from pydantic import Field, model_validator

from flenwheel_core.base.document import Document
from flenwheel_core.documents.images import is_unset

BELIEVED_WRITING = 0.4
_FIRST_BELIEVED_WRITING = 0.4
"""What it was when there first was such a limit. Stays as it is, whatever BELIEVED_WRITING becomes: digests of before rest on it."""


def is_usual(value: object) -> bool:
    """For `exclude_if`: what other stages were asked for before there was this limit keeps its digest."""
    return value == _FIRST_BELIEVED_WRITING


class IngestRecipe(Document):
    """How source pictures are read, checked and described."""

    minimum_images: int = Field(default=10, ge=1, le=1000, description="usable sources before a turn may start")
    minimum_angles: int = Field(default=2, ge=1, le=5, description="different camera angles among the sources")
    minimum_side_px: int = Field(
        default=96,
        ge=16,
        le=4096,
        description="a picture with a shorter side below this is left out; 512 or more for FLUX",
    )
    maximum_side_px: int = Field(
        default=2048,
        ge=64,
        le=8192,
        description="larger pictures are scaled down to this long side",
    )
    maximum_megapixels: int = Field(
        default=120,
        ge=1,
        le=400,
        description="pictures with more pixels are refused before they are decoded",
    )
    duplicate_bits: int = Field(
        default=4,
        ge=0,
        le=16,
        description="perceptual hashes (64 bits) this near mark two sources as one picture",
    )
    blurred_below: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="flag a source whose sharpness is below this share of the median source's",
    )
    frame_people: bool = Field(
        default=True,
        description="cut sources of several people to the character, or hide the others from training",
    )
    describe_with_captioner: bool = Field(
        default=True,
        description="let the captioner write captions for sources that came without one",
    )


class ScreeningRecipe(Document):
    """Limits of the identity guardrail. The identity threshold itself is measured per character at ingest."""

    identity_threshold: float | None = Field(
        default=None,
        gt=0,
        le=2,
        description="a distance up to this passes; empty takes the character's own threshold",
    )
    unsure_above: float | None = Field(
        default=None,
        gt=0,
        le=2,
        description="a distance beyond this fails; in between is unsure; empty takes the character's",
    )
    strict_scale: float = Field(
        default=0.9,
        gt=0.3,
        le=1,
        description="gate B multiplies both identity thresholds by this",
    )
    minimum_face_px: int = Field(
        default=64,
        ge=24,
        le=512,
        description="faces smaller than this cannot be told apart and are unsure",
    )
    minimum_face_score: float = Field(
        default=0.3,
        ge=0,
        le=3,
        description="detector score a face needs; below it lie patches and logos",
    )
    extra_face_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="a second face larger than this share of the largest one makes a picture unsure",
    )
    near_copy_bits: int = Field(
        default=8,
        ge=0,
        le=20,
        description="a perceptual hash this near a reference, flips included, may be a near-copy",
    )
    near_copy_distance: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="... and is one if its identity distance to that reference is below this too",
    )
    duplicate_bits: int = Field(
        default=4,
        ge=0,
        le=16,
        description="perceptual hashes this near mark two candidates as duplicates",
    )
    duplicate_similarity: float = Field(
        default=0.995,
        ge=0.5,
        le=1,
        description="whole-picture embeddings with a cosine above this are duplicates as well",
    )
    minimum_side_px: int = Field(
        default=96,
        ge=16,
        le=4096,
        description="candidates with a shorter side below this fail",
    )
    blurred_fail_below: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="sharpness below this share of the references' lowest fails",
    )
    blurred_unsure_below: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="sharpness below this share of the references' lowest is unsure",
    )
    darkest_mean: float = Field(default=12, ge=0, le=128, description="mean brightness (0-255) below this fails")
    brightest_mean: float = Field(
        default=245,
        ge=128,
        le=255,
        description="mean brightness (0-255) above this fails",
    )
    darker_than_references: float = Field(
        default=0.5, ge=0, le=1, description="mean brightness below this share of the darkest reference's is unsure"
    )
    clipped_unsure_above: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="share of pure black or white pixels beyond the references' own that is unsure",
    )
    clipped_fail_above: float = Field(
        default=0.4, ge=0, le=1, description="share of pure black or white pixels beyond the references' own that fails"
    )
    spoiled_unsure_above: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="a face that is spoiled with a chance above this is unsure; 1 looks at none",
    )
    spoiled_fail_above: float | None = Field(
        default=None,
        ge=0,
        le=1,
        exclude_if=is_unset,
        description="... and fails above this; empty: never. Take it from `flenwheel screen calibrate`",
    )
    writing_unsure_above: float = Field(
        default=BELIEVED_WRITING,
        ge=0,
        le=1,
        exclude_if=is_usual,
        description="a photograph that shows writing nobody asked for, believed more than this, is unsure; 1 looks for none",
    )
    check_labels: bool = Field(
        default=True,
        description="compare the angle, expression and pose asked for with what the reader sees",
    )
    angle_unsure_from: float | None = Field(
        default=None,
        ge=0,
        le=1,
        exclude_if=is_unset,
        description="another angle or pose than asked for is unsure if the reader believes it this much; empty: always",
    )
    angle_fail_from: float | None = Field(
        default=None,
        ge=0,
        le=1,
        exclude_if=is_unset,
        description="... and fails from this belief on; empty: of people never, of others at gate B. "
        "Take it from `flenwheel screen calibrate`",
    )
    expression_unsure_from: float | None = Field(
        default=None,
        ge=0,
        le=1,
        exclude_if=is_unset,
        description="the same for another expression than asked for",
    )
    expression_fail_from: float | None = Field(
        default=None,
        ge=0,
        le=1,
        exclude_if=is_unset,
        description="... and fails from this belief on, as for angles",
    )

    @model_validator(mode="after")
    def _ordered(self) -> "ScreeningRecipe":
        if self.blurred_fail_below > self.blurred_unsure_below:
            raise ValueError("blurred_fail_below must not exceed blurred_unsure_below")
        if self.clipped_unsure_above > self.clipped_fail_above:
            raise ValueError("clipped_unsure_above must not exceed clipped_fail_above")
        for name, ask, remove in (
            ("angle_fail_from", self.angle_unsure_from, self.angle_fail_from),
            ("expression_fail_from", self.expression_unsure_from, self.expression_fail_from),
            ("spoiled_fail_above", self.spoiled_unsure_above, self.spoiled_fail_above),
        ):
            if ask is not None and remove is not None and remove < ask:
                raise ValueError(f"{name} must not be below the limit from which a picture is unsure")
        if (
            self.identity_threshold is not None
            and self.unsure_above is not None
            and self.unsure_above < self.identity_threshold
        ):
            raise ValueError("unsure_above must not be below identity_threshold")
        return self
