"""Request and result of the stage `publish`."""

from typing import Literal

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.export import ExportedFile, ExportRequest

Target = Literal["hub", "s3", "folder"]
What = Literal["model", "space"]


class PublishRequest(StageRequest):
    stage = "publish"
    version = 2  # since then a demo calls its pipeline as the family has it

    export: ExportRequest = Field(description="the LoRA with all that is known of it")
    files: tuple[ExportedFile, ...] = Field(description="what the export wrote")
    what: What = Field(default="model", description="the LoRA with its card, or a demo of it (a Space)")
    to: Target
    place: str = Field(description="owner/name on the Hub, an address such as s3://bucket/prefix, or a folder")
    public: bool = Field(default=False, description="a repository on the Hub that everybody may read")
    allowed_by: str = Field(
        default="", description="what allows it where the licences known here do not; a person's words"
    )
    again: int = Field(default=0, ge=0, description="raised to look at the place once more: others may have changed it")


class PublishedFile(Document):
    """A file where it was published."""

    name: str
    digest: Digest
    size_bytes: int
    address: str


class PublishResult(StageResult):
    to: Target
    address: str
    files: tuple[PublishedFile, ...]
    digest: Digest = Field(description="of everything that was published: names and contents")
    revision: str = Field(default="", description="the commit on the Hub")

    def summary(self) -> str:
        size = sum(file.size_bytes for file in self.files)
        return f"{self.address}: {len(self.files)} files, {size / 2**20:.1f} MiB"
