"""Request and result of the stage `enrich`."""

from pydantic import Field

from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import LoraUse, Sampler, is_unset
from flenwheel_core.documents.prompts import EditItem
from flenwheel_core.documents.storages import EditorStorage
from flenwheel_core.requests.base import StageRequest, StageResult


class EnrichRequest(StageRequest):
    stage = "enrich"
    version = 2  # picture tokens in the prompt are counted in rows and columns

    character: CharacterRef
    sources: Digest = Field(description="image set that holds the sources of the plan")
    items: tuple[EditItem, ...]
    editor: str
    loras: tuple[LoraUse, ...] = ()
    sampler: Sampler
    turn: int
    storage: EditorStorage | None = Field(default=None, description="None: what the family takes on the card")
    shift: float | None = Field(
        default=None, gt=0, exclude_if=is_unset, description="fixed shift, for few-step LoRAs; None: the model's own"
    )


class EnrichResult(StageResult):
    images: Digest = Field(description="image set of the edits, in the plan's order")
    count: int

    def summary(self) -> str:
        return f"{self.count} enriched images"
