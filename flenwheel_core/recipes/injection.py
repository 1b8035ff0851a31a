"""The choices of an injection: where a residual is added, what it is made from, how the head learns."""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from flenwheel_core.base.document import Document
from flenwheel_core.documents.images import is_unset
from flenwheel_core.recipes.train import PriorRecipe, SamplingRecipe, Schedule, SigmaRecipe, TrainingRecipe

Place = Literal["all", "words", "tokens", "both", "phrase"]
OWN_TOKENS: tuple[Place, ...] = ("tokens", "both", "phrase")
"""Places with tokens of their own behind the prompt."""
EVERY_TOKEN: tuple[Place, ...] = ("all", "both")
"""Places whose first residual is on every token of the prompt, whatever its words."""
LEAD = 4
"""As many as `photo of a person` has."""
LearningStage = Literal["regression", "flow"]


class HeadRecipe(Document):
    """The head: linear, from features of photos to residuals in multiples of a token's own size."""

    place: Place = Field(
        default="phrase",
        description="`all`: one residual on every token of the prompt; `words`: on the tokens of the class word; `tokens`: there, "
        "and on tokens of its own behind the prompt; `both`: one on every token of the prompt, and tokens of its own; `phrase`: tokens "
        "of its own alone, which stand for a whole phrase that describes somebody, and what else the base is told of a text.",
    )
    tokens: int = Field(
        default=16,
        ge=1,
        le=64,
        description="How many tokens of its own, with place `tokens` or `both`; with `phrase` those of what a description says.",
    )
    lead: int | None = Field(
        default=None,
        ge=0,
        le=16,
        exclude_if=is_unset,
        description="With place `phrase`: how many tokens of its own stand for the words before a description; 4 if not said.",
    )
    words: str = Field(default="person", description="Words of the prompt that the residual belongs to.")
    features: Literal["eyes", "hidden"] = Field(
        default="eyes",
        description="`eyes`: the vision tower's tokens; `hidden`: the language model's states at the picture, under a question.",
    )
    cells: int = Field(
        default=1, ge=1, le=8, description="Features are the means of cells x cells parts of the photo, side by side."
    )
    pixels: int = Field(
        default=4 * 448 * 448,
        ge=32 * 32,
        description="Pixels of all photos of an identity together; each has its share, 448 x 448 at most.",
    )

    def changed(self, **choices: object) -> Self:
        """With other choices. Raises ValidationError for what cannot be chosen."""
        return self.model_validate({**self.model_dump(), **choices})

    @property
    def leading(self) -> int:
        """How many tokens of a phrase stand for the words before a description."""
        return LEAD if self.lead is None else self.lead

    @property
    def rows(self) -> int:
        """How many residuals it makes; with place `phrase` some more for what else the base is told of a text."""
        if self.place == "phrase":
            return self.leading + self.tokens
        return 1 + self.tokens if self.place in OWN_TOKENS else 1


class LearningRecipe(Document):
    """How a head, or an oracle, learns. An epoch sees every photo once."""

    epochs: float = Field(default=3, gt=0, le=100_000, description="Epochs of each stage.")
    batch_size: int = Field(default=2, ge=1, le=256, description="Photos a step.")
    learning_rate: float = Field(default=1e-3, gt=0, le=0.1, description="Peak learning rate.")
    flow_rate: float | None = Field(
        default=None, gt=0, le=0.1, description="Peak learning rate of `flow`; the same as before it if not said."
    )
    schedule: Schedule = Field(default="cosine", description="Course of the learning rate.")
    stages: tuple[LearningStage, ...] = Field(
        default=("regression", "flow"), min_length=1, description="In this order: captions' embeddings, then pictures."
    )
    cosine: float = Field(
        default=1.0, ge=0, le=100, description="Weight of 1 - cosine beside the squared error, in `regression`."
    )
    pull: float = Field(
        default=0.3,
        gt=0,
        le=100,
        description="How strongly least squares, where `regression` begins, is pulled towards saying the same of everybody, as a share of "
        "the features' spread.",
    )
    sigma: SigmaRecipe = Field(default_factory=SigmaRecipe, description="Noise levels of `flow` and of the oracle.")
    oracle_steps: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Steps in which each identity's residual itself is learned; 0: no oracle.",
    )
    oracle_rate: float = Field(default=0.02, gt=0, le=0.1, description="Learning rate of the oracle.")
    checkpoint_every: int = Field(default=100, ge=1, description="Save the whole state every so many steps.")
    seed: int = Field(default=123, description="Seed of everything random.")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.stages)) < len(self.stages):
            raise ValueError("a stage is named twice")
        return self

    def steps(self, photos: int) -> int:
        """Steps of a stage."""
        return max(1, math.ceil(self.epochs * photos / self.batch_size))

    def changed(self, **choices: object) -> Self:
        """With other choices. Raises ValidationError for what cannot be chosen."""
        return self.model_validate({**self.model_dump(), **choices})

    def training(self, steps: int, rate: float) -> TrainingRecipe:
        """What the common loop is given."""
        return TrainingRecipe(
            steps=steps,
            batch_size=self.batch_size,
            learning_rate=rate,
            schedule=self.schedule,
            warmup_steps=min(20, max(0, steps - 1)),
            weight_decay=0.0,
            min_images=1,
            sigma=self.sigma,
            prior=PriorRecipe(method="off"),
            sampling=SamplingRecipe(every_steps=0),
            checkpoint_every=self.checkpoint_every,
        )


class InjectionRecipe(Document):
    """Both, as a file has them."""

    head: HeadRecipe = Field(default_factory=HeadRecipe)
    learning: LearningRecipe = Field(default_factory=LearningRecipe)
