"""Orders of the training service: what an application asked for, and what became of it."""

from typing import Literal

from pydantic import AwareDatetime, Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest, Slug
from flenwheel_core.documents.characters import SubjectKind


class OrderPicture(Document):
    """A picture to learn from, and what it shows."""

    image: Digest
    description: str = ""


class TrainOrder(Document):
    """One LoRA that was ordered. Choices that are None are the recipe's."""

    id: Slug
    user_id: str = ""
    trigger: str
    class_word: str
    kind: SubjectKind
    recipe: str
    pictures: tuple[OrderPicture, ...]
    rank: int | None = None
    alpha: float | None = None
    learning_rate: float | None = None
    epochs: float | None = None
    steps: int | None = None
    batch_size: int | None = None
    resolution: int | None = None

    @property
    def character(self) -> str:
        """The name of the character that the order makes."""
        return f"order-{self.id}"


class OrderAccepted(Document):
    """The first line of an order: what was asked, and when."""

    at: AwareDatetime
    order: TrainOrder


class OrderHanded(Document):
    """The run that carries an order out."""

    flow_run: str


class OrderFailed(Document):
    """An order's run failed. The record goes when the run begins again."""

    message: str


class OrderedFile(Document):
    """A file of a finished order."""

    name: str
    digest: Digest
    size_bytes: int
    address: str = Field(default="", description="where it was published; empty if it lies in the store only")


class OrderEnded(Document):
    """How an order ended: a LoRA is there, or somebody cancelled it. A failed one has an OrderFailed: it may still be retried."""

    state: Literal["succeeded", "cancelled"]
    lora: Digest | None = None
    files: tuple[OrderedFile, ...] = ()
    model_url: str = Field(default="", description="the LoRA's address, such as s3://bucket/...")

    @property
    def model(self) -> OrderedFile | None:
        """The LoRA's file, as it was handed over: without this machine's paths where it was published."""
        published = next((file for file in self.files if file.address and file.address == self.model_url), None)
        return published or next((file for file in self.files if file.digest == self.lora), None)
