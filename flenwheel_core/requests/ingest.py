"""Request and result of the stage `ingest`."""

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.framings import Framing, SourceFraming
from flenwheel_core.documents.images import LoraUse, is_empty, is_unset
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.recipes.screening import IngestRecipe
from flenwheel_core.requests.base import StageRequest, StageResult


class SourceFile(Document):
    """A file as the user gave it."""

    name: str = Field(max_length=300)
    digest: Digest
    caption: str | None = None
    mask: Digest | None = Field(
        default=None, exclude_if=is_unset, description="the file of its mask, as the user gave it"
    )
    framing: Framing | None = Field(
        default=None,
        exclude_if=is_unset,
        description="what a person said is the character's; None: ingest looks itself",
    )


class IngestRequest(StageRequest):
    stage = "ingest"
    version = 5  # since then a style's photographs are told from its paintings

    character: CharacterRef
    files: tuple[SourceFile, ...]
    recipe: IngestRecipe
    verifier: str
    captioner: str | None = None
    captioner_loras: tuple[LoraUse, ...] = Field(
        default=(),
        exclude_if=is_empty,
        description="what the captioner learned; then its captions are used, not only read",
    )
    reader: str | None = Field(default=None, description="reads angle and expression; None: the verifier's own hint")
    caption_template: str = "{shot} {trigger} {class_word}, {shown}"
    phrases: dict[str, str] = Field(default_factory=dict, description="the recipe's words for labels")
    text_tokens: int | None = Field(
        default=None, exclude_if=is_unset, description="how much of a caption training reads; None: all of it"
    )


class IngestProblem(Document):
    """Why a file was left out, or what is doubtful about one that was kept."""

    file: str
    code: str
    message: str
    dropped: bool


class IngestResult(StageResult):
    sources: Digest = Field(description="image set of the usable sources")
    count: int
    fingerprint: Fingerprint | None
    problems: tuple[IngestProblem, ...]
    missing: tuple[str, ...] = Field(description="what is missing before a turn can start; empty if nothing")
    masks: int = Field(default=0, exclude_if=is_empty, description="how many of the sources have a mask")
    framings: tuple[SourceFraming, ...] = Field(
        default=(), exclude_if=is_empty, description="sources with several people, and those that a person framed"
    )

    def summary(self) -> str:
        dropped = sum(problem.dropped for problem in self.problems)
        masks = f" ({self.masks} with a mask)" if self.masks else ""
        missing = f", missing: {'; '.join(self.missing)}" if self.missing else ""
        return f"{self.count} usable sources{masks}, {dropped} left out{missing}"
