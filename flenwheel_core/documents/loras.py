"""LoRA files and what is known of them."""

from typing import Literal

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest


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


class LossPoint(Document):
    """The mean training loss up to and including a step, since the point before."""

    step: int
    loss: float


class SampleImage(Document):
    """A picture drawn while training, at a fixed prompt and seed."""

    step: int
    prompt: str
    seed: int
    image: Digest
