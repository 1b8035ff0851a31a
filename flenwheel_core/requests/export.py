"""Request and result of the stage `export`."""

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.characters import CharacterRef, Consent
from flenwheel_core.documents.choices import StateChoice
from flenwheel_core.documents.images import Sampler, is_unset
from flenwheel_core.documents.loras import LoraRecord, SampleImage
from flenwheel_core.documents.scores import Comparison, Scorecard
from flenwheel_core.requests.base import StageRequest, StageResult


class ExportedFile(Document):
    name: str
    digest: Digest


class ExportRequest(StageRequest):
    stage = "export"
    version = 6  # since then the card draws with the sampler's steps, size and guidance, in its pipeline's own words

    character: CharacterRef
    lora: LoraRecord
    scorecard: Scorecard | None = None
    comparison: Comparison | None = None
    grid: Digest | None = None
    samples: tuple[SampleImage, ...] = ()
    sources: Digest
    pool: Digest
    turn: int
    sampler: Sampler | None = Field(
        default=None, exclude_if=is_unset, description="how the sample pictures were drawn; None: nobody said"
    )
    strength: float | None = Field(default=None, exclude_if=is_unset, description="the strength to use it at; None: 1")
    choice: StateChoice | None = Field(
        default=None,
        exclude_if=is_unset,
        description="how the state of its training was chosen; None: the last was taken",
    )
    consent: Consent | None = Field(
        default=None, exclude_if=is_unset, description="whose face it is and who vouches for its use; None: nobody said"
    )


class ExportResult(StageResult):
    files: tuple[ExportedFile, ...]

    def summary(self) -> str:
        return ", ".join(file.name for file in self.files)
