"""Request and result of the stage `train_share`: what another machine does of a training over several machines."""

from pydantic import Field

from flenwheel_core.base.ids import Digest
from flenwheel_core.requests.base import StageRequest, StageResult


class TrainShareRequest(StageRequest):
    """One machine's part of one attempt: an attempt that failed is never gone on with, the training itself is."""

    stage = "train_share"

    training: Digest = Field(description="key of the training's request, which the leading machine wrote")
    attempt: str = Field(description="names this attempt of the training")
    place: int = Field(ge=1, description="which machine this is; the leading one has place 0")
    address: str = Field(description="where the leading machine is met")
    port: int
    cards: int = Field(default=1, ge=1, description="cards of each machine")
    memory_level: int = Field(default=0, ge=0, description="that of the leading machine")


class TrainShareResult(StageResult):
    """Nothing: the leading machine has the LoRA."""

    def summary(self) -> str:
        return "trained along; the leading machine has the LoRA"
