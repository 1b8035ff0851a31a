"""Request and result of the stage `critic_train`: what verdicts teach the critic."""

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.critics import Looker, RungName, RungScore
from flenwheel_core.documents.images import is_unset
from flenwheel_core.requests.base import StageRequest, StageResult


class CriticTrainRequest(StageRequest):
    stage = "critic_train"
    version = 2  # since then it reads more of what screening knows

    lessons: Digest = Field(description="blob: CriticLessons")
    verifier: str | None = Field(default=None, description="whose embeddings the critic may read; None: none")
    champion: Digest | None = Field(default=None, description="blob: the promoted critic, to compare with")
    looks: Digest | None = Field(
        default=None,
        exclude_if=is_unset,
        description="blob: Looks, what a vision model said of lessons it had not learned",
    )
    looker: Looker | None = Field(default=None, exclude_if=is_unset, description="that model")


class CriticComparison(Document):
    """The new critic against the promoted one, or against the share of verdicts, on turns that neither learned."""

    against: str
    lessons: int
    log_loss_before: float
    log_loss_now: float
    gain_low: float = Field(description="95 % interval of the log loss saved")
    gain_high: float
    p_value: float = Field(description="paired sign-flip test over groups of edits of one source")
    better: bool
    said: str


class CriticTrainResult(StageResult):
    critic: Digest = Field(description="blob: the Critic")
    rung: RungName
    lessons: int
    turns: int
    ladder: tuple[RungScore, ...]
    comparison: CriticComparison | None = None
    worst: tuple[Digest, ...] = Field(
        default=(), description="held-out pictures whose verdict surprised the critic most, the most surprising first"
    )

    def summary(self) -> str:
        return f"{self.lessons} verdicts of {self.turns} turns: the rung {self.rung.replace('_', ' ')} is used"
