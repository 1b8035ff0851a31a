"""Request and result of the stage `style_study`: one style drawn in several ways, on the same scenes and seeds."""

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Sampler, is_unset
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.documents.scores import Fingerprint, StyleScore
from flenwheel_core.recipes.screening import ScreeningRecipe
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.benchmark import StyleMeasure


class Way(Document):
    """One way of drawing: a base alone, a base with the style named, or a LoRA at a strength."""

    name: str = Field(description="for people; unique within a study")
    base: str
    sampler: Sampler
    words: str = Field(default="", description="put behind each scene: the style's name, or trigger and class word")
    lora: Digest | None = None
    strength: float = 1.0
    choice: str = Field(default="", description="of a LoRA: its rank and blocks, for people")


class StyleStudyRequest(StageRequest):
    stage = "style_study"
    version = 3  # since then diversity counts pictures that are not nearly copies of each other

    character: CharacterRef
    ways: tuple[Way, ...] = Field(min_length=1)
    scenes: tuple[GenerateItem, ...] = Field(description="what every way draws; their prompts say only what is shown")
    against: StyleMeasure
    fingerprint: Fingerprint
    verifier: str
    reader: str | None = None
    screening: ScreeningRecipe = Field(default_factory=ScreeningRecipe)
    photos: Digest | None = Field(
        default=None, exclude_if=is_unset, description="image set of photographs that are measured beside; None: none"
    )
    chosen_lora: Digest | None = Field(
        default=None, description="the LoRA whose default strength is looked for among its ways; None: none"
    )


class NearestPainting(Document):
    """The painting trained on that a picture is most like."""

    image: Digest
    painting: Digest
    bits: int = Field(
        description="by which their perceptual hashes differ, of 64; about 32 for what has nothing in common"
    )
    mirrored: bool
    copied: bool


class StudiedWay(Document):
    """What one way of drawing gave."""

    way: Way
    images: Digest = Field(description="image set, in the order of the scenes")
    style: StyleScore
    pass_rate: float
    kid: float | None = Field(
        default=None, exclude_if=is_unset, description="KID to the held-out paintings in the space of the CLIP"
    )
    csd: float | None = Field(
        default=None,
        exclude_if=is_unset,
        description="chance that CSD finds a held-out painting nearer than a picture of the bare base; 0.5: no difference",
    )
    clip_t: float | None = Field(default=None, exclude_if=is_unset, description="mean CLIP-T of pictures and scenes")
    gain: tuple[float, float, float] | None = Field(
        default=None, description="by how much it is nearer than the best naming of the style, with its 95 % interval"
    )
    nearest: tuple[NearestPainting, ...]


class StudiedPhotos(Document):
    """Photographs, measured like a way of drawing: how far the world is from the style."""

    images: Digest
    distance: float = Field(description="distance of distributions to held-out paintings, in their spreads")
    low: float = Field(description="95 % interval")
    high: float
    kid: float | None = Field(default=None, exclude_if=is_unset)
    gain: tuple[float, float, float] | None = Field(
        default=None,
        description="by how much they are nearer than the best naming of the style, with its 95 % interval",
    )


class StyleStudyResult(StageResult):
    ways: tuple[StudiedWay, ...]
    photos: StudiedPhotos | None = Field(default=None, exclude_if=is_unset)
    named: str | None = Field(description="the nearest way without a LoRA that names the style; None if none does")
    csd_own: float | None = Field(
        default=None,
        exclude_if=is_unset,
        description="the same chance for the paintings that were trained on: what CSD knows of this style",
    )
    strength: float | None = Field(
        description="default strength of the chosen LoRA: the most style among those that keep the content"
    )

    def summary(self) -> str:
        best = min(self.ways, key=lambda one: one.style.distance)
        text = f"{len(self.ways)} ways; nearest: {best.way.name}, style distance {best.style.distance:.2f}"
        return text if self.strength is None else f"{text}; default strength {self.strength:g}"
