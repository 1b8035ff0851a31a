"""What is known of a head: which features it reads, and whose prompts its residuals are for."""

from typing import Literal

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest


class HeadFacts(Document):
    """Written into the head's file: a head works with one version of features and one space of prompts only."""

    place: Literal["all", "words", "tokens"]
    rows: int = Field(ge=1, description="residuals it makes")
    cells: int = Field(ge=1)
    pixels: int = Field(ge=1, description="of all photos of an identity together")
    features: Literal["eyes", "hidden"]
    inputs: int = Field(ge=1, description="length of an identity's features")
    width: int = Field(ge=1, description="channels of a prompt's embedding")
    feature_model: str
    feature_version: Digest
    base: str
    space: Digest = Field(description="of the base's text encoders")
    identities: int = Field(ge=1, description="how many it learned from")
    photos: int = Field(ge=1)
    stages: tuple[str, ...]
    request: Digest
