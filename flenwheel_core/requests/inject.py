"""Requests and results of the stages `inject_train` and `inject`: a head learns, and pictures are drawn with what photos show."""

from typing import Literal

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.images import Labels, LoraUse, Sampler, is_empty, is_unset
from flenwheel_core.documents.injections import HeadFacts
from flenwheel_core.documents.loras import LossPoint
from flenwheel_core.recipes.injection import HeadRecipe, LearningRecipe
from flenwheel_core.requests.base import StageRequest, StageResult

Method = Literal["injection", "shuffled", "average", "caption", "oracle", "editor", "lora"]
"""`shuffled`: another identity's photos; `average`: those of nobody in particular, where there is no other; `caption`: words alone."""


class InjectionPhoto(Document):
    """One photo of an identity, with words for it where there are any."""

    image: Digest
    caption: str = Field(default="", description="what it shows, with the class word in place of who it is")
    described: str = Field(default="", description="the same with all that words say of who it is")
    name: str = Field(
        default="",
        exclude_if=is_empty,
        description="of a file that somebody gave: it must show one person; empty for pictures of the workspace",
    )


class InjectionIdentity(Document):
    """Somebody, by photos."""

    name: str
    photos: tuple[InjectionPhoto, ...] = Field(min_length=1)
    held_out: tuple[Digest, ...] = Field(
        default=(), description="photos that nothing is made from: pictures are measured by them"
    )
    known: bool | None = Field(
        default=False, description="the head learned from this identity; None: it does not say from whom it learned"
    )
    description: str = Field(default="", description="words for who it is, for the control `caption`")


class InjectTrainRequest(StageRequest):
    stage = "inject_train"
    version = 3

    identities: tuple[InjectionIdentity, ...] = Field(min_length=1)
    features: str = Field(description="resolved reference of the vision-language model")
    base: str = Field(description="resolved reference of the model that draws")
    head: HeadRecipe = Field(default_factory=HeadRecipe)
    learning: LearningRecipe = Field(default_factory=LearningRecipe)
    width: int = Field(ge=64, le=4096)
    height: int = Field(ge=64, le=4096)
    verifier: str | None = Field(
        default=None, exclude_if=is_unset, description="sees whether a photo that somebody gave shows one person"
    )


class StageCurve(Document):
    """The losses of a stage of training."""

    stage: str
    losses: tuple[LossPoint, ...]


class InjectTrainResult(StageResult):
    head: Digest
    facts: HeadFacts
    oracle: Digest | None = Field(default=None, description="residuals by the name of the identity, safetensors")
    curves: tuple[StageCurve, ...]

    def summary(self) -> str:
        lasts = ", ".join(f"{curve.stage} {curve.losses[-1].loss:.4f}" for curve in self.curves if curve.losses)
        return f"head of {self.facts.identities} identities and {self.facts.photos} photos; last losses: {lasts}"


class InjectionPrompt(Document):
    """What is drawn, and what it asks for where that can be read."""

    text: str
    labels: Labels = Field(default_factory=Labels)
    edit: str = Field(default="", description="the same for the editor, with the photo; empty: the editor is left out")
    cell: str | None = Field(
        default=None, exclude_if=is_unset, description="the cell of the model card that it is to fill"
    )


class InjectRequest(StageRequest):
    stage = "inject"
    version = 3  # since then a prompt that was drawn once says nothing of diversity

    identities: tuple[InjectionIdentity, ...] = Field(min_length=1)
    strangers: tuple[InjectionIdentity, ...] = Field(default=(), description="others, for the control `shuffled`")
    features: str
    base: str
    head: Digest
    oracle: Digest | None = Field(default=None, description="residuals by the name of the identity")
    words: str = Field(default="person", description="words of the prompts that the residual belongs to")
    prompts: tuple[InjectionPrompt, ...] = Field(min_length=1)
    negative: str | None = None
    alphas: tuple[float, ...] = Field(min_length=1, description="alpha 0 is always drawn besides")
    seeds: tuple[int, ...] = Field(min_length=1)
    sampler: Sampler
    controls: tuple[Method, ...] = ()
    editor: str | None = None
    edit_sampler: Sampler | None = None
    lora: LoraUse | None = Field(default=None, description="of the one identity, for the control `lora`")
    lora_words: str = Field(default="", description="trigger and class word, in place of the words")
    verifier: str | None = Field(default=None, description="tells who is in pictures; None: nothing is measured")
    reader: str | None = None
    turn: int | None = Field(
        default=None,
        exclude_if=is_unset,
        description="the turn whose gate the pictures are for: nothing is drawn to compare with; None: a preview",
    )


class InjectionCell(Document):
    """One picture and what was measured of it; None where it could not be."""

    image: Digest
    identity: str
    method: Method
    alpha: float
    prompt: int
    seed: int
    likeness: float | None = Field(description="cosine to the mean of the held-out photos")
    to_photos: float | None = Field(description="the largest cosine to a photo that the features are from")
    kept: float | None = Field(description="share of what the prompt asks for and can be read that is there")
    sharpness: float


class InjectionFigures(Document):
    """Means over the pictures of a method and a strength, for known or unknown identities."""

    method: Method
    alpha: float
    known: bool | None
    pictures: int
    identities: int
    identity: float | None
    prompt_kept: float | None
    diversity: float | None = Field(
        description="different pictures among those of one prompt, as a share of their number (Vendi score); None where each was drawn once"
    )
    copy_paste: float | None = Field(description="likeness to the nearest photo seen, minus that to the held-out ones")
    sharpness: float
    turned_degrees: float | None = Field(default=None, description="by which the injected tokens are turned")


class InjectionGrid(Document):
    """The picture of an identity: rows of alpha, columns of seeds, of the first prompt."""

    identity: str
    picture: Digest


class InjectResult(StageResult):
    images: Digest = Field(description="image set of all pictures")
    cells: tuple[InjectionCell, ...]
    figures: tuple[InjectionFigures, ...]
    grids: tuple[InjectionGrid, ...]
    verdict: str = Field(description="one sentence: does it work, and by how much")

    def summary(self) -> str:
        return f"{len(self.cells)} pictures. {self.verdict}"
