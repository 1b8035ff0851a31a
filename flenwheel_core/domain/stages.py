"""The Request and Result of every stage: a stage is a pure function from one to the other.

Requests name every input by digest. The digest of a request, with the stage's name and version, names its output folder.
"""

from typing import ClassVar, Literal

from pydantic import Field

from flenwheel_core.domain.base import Document
from flenwheel_core.domain.images import LoraUse, Sampler, is_unset
from flenwheel_core.domain.loras import LoraRecord, LossPoint, SampleImage
from flenwheel_core.domain.prompts import EditItem, GenerateItem
from flenwheel_core.domain.scores import Comparison, Fingerprint, Scorecard
from flenwheel_core.ids import Digest, digest_json
from flenwheel_core.recipes.benchmark import BenchmarkRecipe
from flenwheel_core.recipes.screening import IngestRecipe, ScreeningRecipe
from flenwheel_core.recipes.train import TrainingRecipe


class StageRequest(Document):
    """What a stage is asked to do."""

    stage: ClassVar[str]
    version: ClassVar[int] = 1
    """Raise it when the same request must give another result: old results are then left alone, not reused."""

    def key(self) -> Digest:
        """The name of this request's output folder."""
        return digest_json({"stage": self.stage, "version": self.version, "request": self.model_dump(mode="json")})


class StageResult(Document):
    """What a stage made. Nothing in it is dated: the same request gives the same result, byte for byte."""

    def summary(self) -> str:
        """One line for logs and the CLI."""
        return ""


class CharacterRef(Document):
    """What every stage needs to know of a character."""

    name: str
    trigger: str
    class_word: str
    kind: str = Field(description="person (a human face) or subject (everything else)")


class SourceFile(Document):
    """A file as the user gave it."""

    name: str = Field(max_length=300)
    digest: Digest
    caption: str | None = None


class IngestRequest(StageRequest):
    stage = "ingest"
    version = 2  # since then captions of other tools are put into the project's form

    character: CharacterRef
    files: tuple[SourceFile, ...]
    recipe: IngestRecipe
    verifier: str
    captioner: str | None = None
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

    def summary(self) -> str:
        dropped = sum(problem.dropped for problem in self.problems)
        return f"{self.count} usable sources, {dropped} left out" + (
            f", missing: {'; '.join(self.missing)}" if self.missing else ""
        )


EditorStorage = Literal["bf16", "fp8", "int8", "nf4"]
"""How an editor's weights are kept on the card."""


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
    storage: EditorStorage | None = Field(default=None, description="None: the most exact one that fits the card")
    shift: float | None = Field(
        default=None, gt=0, exclude_if=is_unset, description="fixed shift, for few-step LoRAs; None: the model's own"
    )


class EnrichResult(StageResult):
    images: Digest = Field(description="image set of the edits, in the plan's order")
    count: int

    def summary(self) -> str:
        return f"{self.count} enriched images"


class ScreenRequest(StageRequest):
    stage = "screen"
    version = 2  # since then edits that leave their source's frame are pointed out

    character: CharacterRef
    images: Digest = Field(description="image set of the candidates")
    references: Digest = Field(description="image set of the real sources")
    pool: Digest | None = Field(default=None, description="image set of the training pool, for duplicates")
    fingerprint: Fingerprint
    verifier: str
    reader: str | None = Field(default=None, description="reads angle and expression; None: the verifier's own hint")
    recipe: ScreeningRecipe
    strict: bool = Field(default=False, description="gate B is stricter than gate A")


class ScreenResult(StageResult):
    screenings: Digest = Field(description="screening table, one row a candidate, in the candidates' order")
    passed: int
    unsure: int
    failed: int

    def summary(self) -> str:
        return f"{self.passed} pass, {self.unsure} unsure, {self.failed} fail"


class TrainItem(Document):
    """One picture of a training set."""

    image: Digest
    caption: str
    real: bool
    weight: float = 1.0
    mask: Digest | None = None


class TrainRequest(StageRequest):
    stage = "train"

    character: CharacterRef
    name: str
    items: tuple[TrainItem, ...]
    base: str
    recipe: TrainingRecipe
    seed: int
    sample_prompts: tuple[str, ...] = ()
    sampler: Sampler
    fingerprint: Fingerprint | None = Field(
        default=None, exclude_if=is_unset, description="what sample pictures are compared with"
    )
    verifier: str | None = Field(
        default=None, exclude_if=is_unset, description="embeds sample pictures for the identity curve"
    )


class TrainResult(StageResult):
    lora: LoraRecord
    losses: tuple[LossPoint, ...]
    samples: tuple[SampleImage, ...]

    def summary(self) -> str:
        loss = f", last loss {self.losses[-1].loss:.4f}" if self.losses else ""
        return f"LoRA {self.lora.name}: {self.lora.steps} steps on {self.lora.images} pictures{loss}"


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


class BenchmarkRequest(StageRequest):
    stage = "benchmark"

    character: CharacterRef
    base: str
    challenger: Digest | None = Field(description="LoRA file; None measures the bare base model")
    champion: Digest | None = Field(default=None, description="LoRA file to compare with")
    lora_weight: float = 1.0
    fingerprint: Fingerprint
    first_turn: Scorecard | None = Field(default=None, description="scorecard of turn 1, for drift")
    verifier: str
    reader: str | None = None
    items: tuple[GenerateItem, ...] = Field(description="prompts and seeds of the cells: evaluation.card.plan_card")
    screening: ScreeningRecipe = Field(
        default_factory=ScreeningRecipe, description="limits a picture must hold to pass"
    )
    recipe: BenchmarkRecipe
    sampler: Sampler


class BenchmarkResult(StageResult):
    challenger: Scorecard
    champion: Scorecard | None
    comparison: Comparison | None
    images: Digest = Field(description="image set of all benchmark pictures")
    grid: Digest = Field(description="picture: 23 cells, champion beside challenger")

    def summary(self) -> str:
        text = f"first-try pass rate {self.challenger.pass_rate:.0%}, identity {self.challenger.identity:.3f}"
        if self.champion is not None and self.comparison is not None:
            text += f" (champion {self.champion.pass_rate:.0%}, {self.champion.identity:.3f}): "
            text += "promote" if self.comparison.promote else "keep the champion"
        return text


class ExportedFile(Document):
    name: str
    digest: Digest


class ExportRequest(StageRequest):
    stage = "export"
    version = 2  # since then a DoRA's magnitudes are in the file for other tools

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
