"""LoRA files and what is known of them."""

from typing import Literal

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.images import is_one


class LoraRecord(Document):
    """One trained LoRA. Everything here follows from the request, so that the same request gives the same record."""

    digest: Digest = Field(description="the safetensors file, in diffusers/PEFT keys")
    name: str
    target: Literal["generator", "editor", "captioner"]
    base_model: str = Field(description="resolved model reference with revision")
    trigger: str | None
    class_word: str | None
    rank: int
    alpha: float
    steps: int
    images: int = Field(description="pictures it was trained on")
    dataset: Digest = Field(description="digest of the training set")
    request: Digest = Field(description="digest of the training request")
    strength: float = Field(
        default=1.0,
        exclude_if=is_one,
        description="already in the file's numbers: it is drawn at 1 as it was tried at this",
    )


class KeptLora(Document):
    """A LoRA as it was on the way of its training."""

    step: int
    lora: Digest


class LossPoint(Document):
    """The mean training loss up to and including a step, since the point before."""

    step: int
    loss: float


class PictureLook(Document):
    """How far one picture was learned up to a step. All pictures are measured at the same noise, without a weight or a mask."""

    step: int
    image: Digest
    base_loss: float = Field(description="of the base model, without the LoRA")
    loss: float = Field(description="with the LoRA as it is after the step")

    @property
    def learned(self) -> float:
        """By how much the loss has fallen."""
        return self.base_loss - self.loss

    @property
    def gain(self) -> float:
        """The same as a share of the base's loss."""
        return self.learned / self.base_loss if self.base_loss else 0.0


class SampleImage(Document):
    """A picture drawn while training, at a fixed prompt and seed."""

    step: int
    prompt: str
    seed: int
    image: Digest
