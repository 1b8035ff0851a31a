"""What the training service takes and answers. The names are those of the document that described it first."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.base.names import ClassWord, Trigger
from flenwheel_core.documents.characters import SubjectKind
from flenwheel_core.documents.orders import OrderedFile

MOST_PICTURES = 100
LONGEST_DESCRIPTION = 4000
LONGEST_PICTURE = 64 * 2**20
"""Bytes of one picture; base64 makes a third more of it."""
MOST_WAIT_SECONDS = 900
IdempotencyKey = Annotated[str, Field(min_length=1, max_length=200)]
State = Literal["queued", "running", "waiting_for_review", "succeeded", "failed", "cancelled"]
FINAL: tuple[State, ...] = ("succeeded", "failed", "cancelled")


class TrainingParams(Document):
    """Choices of the training; what is left out is the recipe's."""

    rank: int | None = Field(default=None, ge=1, le=256)
    alpha: float | None = Field(default=None, gt=0, le=1024)
    learning_rate: float | None = Field(default=None, gt=0, le=10)
    epochs: float | None = Field(
        default=None, gt=0, le=10_000, description="passes over the pictures; instead of steps"
    )
    steps: int | None = Field(default=None, ge=1, le=100_000)
    batch_size: int | None = Field(default=None, ge=1, le=64)
    resolution: int | None = Field(default=None, ge=64, le=2048, multiple_of=16)


class TrainingPicture(Document):
    """A picture, and what it shows."""

    image: str = Field(
        min_length=1,
        max_length=LONGEST_PICTURE * 4 // 3 + 100,
        description="base64, also as a data: URL, or the digest of a picture that is in the store. Addresses are not fetched.",
    )
    description: str = Field(default="", max_length=LONGEST_DESCRIPTION)


class OrderBody(TrainingParams):
    """An order. Choices stand beside the pictures, or in `training_params`."""

    train_data: tuple[TrainingPicture, ...] = Field(min_length=1, max_length=MOST_PICTURES)
    user_id: int | Annotated[str, Field(max_length=200)] = Field(
        default="", description="a label of yours; kept as it is"
    )
    training_params: TrainingParams | None = None
    trigger: Trigger | None = Field(default=None, description="ohwx_char if left out; of a style ohwx_style")
    class_word: ClassWord | None = Field(default=None, description="person if left out; of a style style")
    kind: SubjectKind = "person"
    recipe: str | None = Field(
        default=None, max_length=80, pattern=r"^[a-z0-9][a-z0-9_-]*$", description="one that comes with the project"
    )

    @model_validator(mode="after")
    def _once(self) -> "OrderBody":
        given = self.choices()
        if given.epochs is not None and given.steps is not None:
            raise ValueError("give epochs or steps, not both")
        return self

    def choices(self) -> TrainingParams:
        """The choices, wherever they stand; those in `training_params` win."""
        names = TrainingParams.model_fields
        beside = {name: getattr(self, name) for name in names}
        inside = self.training_params.model_dump(exclude_none=True) if self.training_params is not None else {}
        return TrainingParams.model_validate(beside | inside)


class OrderView(Document):
    """How an order stands."""

    id: str
    state: State
    location: str = Field(description="ask here again")
    user_id: str
    stage: str = Field(default="", description="what is being worked on")
    percent: int = Field(default=0, description="how much of that stage is done")
    message: str = Field(
        default="", description="for people: steps, rate and time left of the stage, or what went wrong"
    )
    run_address: str | None = Field(default=None, description="the run's page in the Prefect interface")
    model_url: str | None = Field(
        default=None, description="the LoRA's address, such as s3://bucket/...; None until it is there"
    )
    sha256: Digest | None = None
    size_bytes: int | None = None
    link: str | None = Field(
        default=None, description="opens the file without keys, for an hour; None where there is no such thing"
    )
    files: tuple[OrderedFile, ...] = ()
