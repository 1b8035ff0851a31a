"""Request and result of the stage `export`."""

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.loras import LoraRecord, SampleImage
from flenwheel_core.documents.scores import Comparison, Scorecard
from flenwheel_core.requests.base import StageRequest, StageResult


class ExportedFile(Document):
    name: str
    digest: Digest


class ExportRequest(StageRequest):
    stage = "export"
    version = 3  # since then the card and the provenance say the base model's licence

    character: CharacterRef
    lora: LoraRecord
    scorecard: Scorecard | None = None
    comparison: Comparison | None = None
    grid: Digest | None = None
    samples: tuple[SampleImage, ...] = ()
    sources: Digest
    pool: Digest
    turn: int


class ExportResult(StageResult):
    files: tuple[ExportedFile, ...]

    def summary(self) -> str:
        return ", ".join(file.name for file in self.files)
