"""Request and result of the stage `generate`."""

from pydantic import Field

from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import LoraUse, Sampler
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.requests.base import StageRequest, StageResult


class GenerateRequest(StageRequest):
    stage = "generate"

    character: CharacterRef
    items: tuple[GenerateItem, ...]
    base: str
    loras: tuple[LoraUse, ...] = ()
    sampler: Sampler
    turn: int


class GenerateResult(StageResult):
    images: Digest = Field(description="image set, in the plan's order")
    count: int

    def summary(self) -> str:
        return f"{self.count} synthetic images"
