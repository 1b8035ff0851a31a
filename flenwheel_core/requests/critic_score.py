"""Request and result of the stage `critic_score`: what the critic says of the pictures of a gate before it opens."""

from pydantic import Field

from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.images import is_unset
from flenwheel_core.requests.base import StageRequest, StageResult


class CriticScoreRequest(StageRequest):
    stage = "critic_score"
    version = 2  # since then a view marks the pictures that score low

    gate: str
    kind: str
    character: str
    images: Digest = Field(description="image set of the candidates")
    screenings: Digest | None = Field(default=None, description="screening table of the same")
    threshold: float | None = Field(default=None, description="identity threshold of the character")
    verifier: str | None = Field(default=None, description="whose embeddings a critic may read")
    critic: Digest | None = Field(default=None, description="blob: the newest critic; it orders")
    guard: Digest | None = Field(default=None, description="blob: the promoted critic; it may reject")
    looks: Digest | None = Field(
        default=None,
        exclude_if=is_unset,
        description="blob: Looks, what the promoted critic's looker said of the pictures",
    )
    random_share: float
    audit_share: float
    most_lost: float
    confidence: float
    rejects: bool = Field(description="pictures may be set aside")
    not_because: str = Field(default="", description="why none are, in words")


class CriticScoreResult(StageResult):
    view: Digest = Field(description="blob: the CriticView")
    pictures: int
    look_at: int
    set_aside: int

    def summary(self) -> str:
        aside = f", {self.set_aside} set aside" if self.set_aside else ""
        return f"{self.look_at} of {self.pictures} pictures are worth a look{aside}"
