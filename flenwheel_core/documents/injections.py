"""What is known of a head: which features it reads, and whose prompts its residuals are for."""

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.images import is_unset

EARLIER_PIXELS = 448 * 448
"""What photos were seen with before heads said so."""
MARK = 16
"""Digits of a digest that stand for a photo: a head may have learned from thousands."""


class HeadFacts(Document):
    """Written into the head's file: a head works with one version of features and one space of prompts only."""

    place: Literal["all", "words", "tokens", "both", "phrase"]
    rows: int = Field(ge=1, description="residuals it makes")
    cells: int = Field(ge=1)
    pixels: int = Field(default=EARLIER_PIXELS, ge=1, description="of all photos of an identity together")
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
    learned_from: tuple[str, ...] | None = Field(
        default=None,
        exclude_if=is_unset,
        description="the first digits of the digest of each photo; None for a head that was made before heads said so",
    )

    def learned(self, photos: Iterable[Digest]) -> bool | None:
        """Whether one of these photos taught it; None where it does not say from which photos it learned."""
        if self.learned_from is None:
            return None
        return not marks(photos).isdisjoint(self.learned_from)


class InjectionOfTurn(Document):
    """What injection brings to a character's first turn."""

    alpha: float | None = Field(description="the strength that cells are drawn with; None: none are drawn")
    said: str = Field(description="why, with what was measured")


def marks(photos: Iterable[Digest]) -> set[str]:
    """The first digits of photos' digests, as heads keep them."""
    return {digest[:MARK] for digest in photos}
