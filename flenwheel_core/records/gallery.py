"""Every picture and LoRA of a workspace, to browse: the gallery, the LoRA versions, what worked as an edit prompt."""

import threading

import polars as pl
from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import NotFoundError
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.decisions import FinalDecision, Verdict
from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels
from flenwheel_core.documents.loras import LoraRecord, LossPoint, SampleImage
from flenwheel_core.documents.scores import Comparison, Scorecard, Screening
from flenwheel_core.evaluation.prompts import TemplateStatistics, template_statistics
from flenwheel_core.gates.session import Reviews
from flenwheel_core.gates.settle import final
from flenwheel_core.gates.summary import shown_cell
from flenwheel_core.library.characters import Library
from flenwheel_core.records.provenance import Provenance
from flenwheel_core.requests.benchmark import BenchmarkResult
from flenwheel_core.requests.train import TrainResult
from flenwheel_core.store import Store
from flenwheel_core.store.tables import frame_of_rows, rows_of


class GalleryPage(Document):
    """A part of the gallery."""

    total: int
    offset: int
    images: tuple[ImageRecord, ...]


class TurnScore(Document):
    """The model card of one LoRA, and which turn and role it had."""

    character: str
    turn: int
    role: str
    lora: Digest | None
    scorecard: Scorecard


class BenchmarkView(Document):
    """A benchmark of a LoRA against the champion of its time."""

    challenger: Scorecard
    champion: Scorecard | None
    comparison: Comparison | None
    grid: Digest


class LoraView(Document):
    """A LoRA version."""

    record: LoraRecord
    character: str | None
    promoted_in_turn: int | None
    is_champion: bool
    samples: tuple[SampleImage, ...] = ()
    losses: tuple[LossPoint, ...] = ()
    benchmarks: tuple[BenchmarkView, ...] = ()


class PromptStatistics(Document):
    """How edit and generation prompt templates fared."""

    rows: tuple[TemplateStatistics, ...]
    texts: dict[str, str] = Field(description="an example of each template's prompts")
    reviewed: int
    good: int


class Records:
    """Looks through all records of a store; image tables are read again only when there are new ones."""

    def __init__(self, store: Store, reviews: Reviews) -> None:
        self._store = store
        self._reviews = reviews
        self._library = Library(store)
        self._lock = threading.Lock()
        self._tables: tuple[str, ...] | None = None
        self._provenance = Provenance(store)
        self._frame: pl.DataFrame | None = None
        self._frame_tables: tuple[str, ...] = ()

    def provenance(self) -> Provenance:
        """Lineage of all there is now, uploaded corrections included."""
        tables = tuple(self._store.files.list("tables/images"))
        with self._lock:
            if tables != self._tables:
                self._provenance, self._tables = Provenance(self._store), tables
            known = self._provenance.images()
            for gate in self._reviews.gates():
                for digest, record in self._reviews.corrections(gate).items():
                    known.setdefault(digest, record)
            return self._provenance

    def gallery(
        self,
        *,
        character: str | None = None,
        kind: ImageKind | None = None,
        cell: str | None = None,
        offset: int = 0,
        limit: int = 60,
    ) -> GalleryPage:
        """Pictures by the newest turn first. A character's are those of its gates and its pool."""
        found = self._pictures()
        if character is not None:
            found = found.filter(pl.col("digest").is_in(sorted(self._images_of(character))))
        if kind is not None:
            found = found.filter(pl.col("kind") == kind.value)
        if cell is not None:
            found = found.filter(pl.col("shown_cell") == cell)
        order = ["turn", "stage", "item"]
        page = found.sort(order, descending=[True, False, False], maintain_order=True).slice(offset, limit)
        images = rows_of(page.drop("shown_cell"), ImageRecord, where="The gallery")
        return GalleryPage(total=len(found), offset=offset, images=images)

    def _pictures(self) -> pl.DataFrame:
        """Every picture there is, with the cell of the model card that it shows; made again when there are new ones."""
        tables = tuple(self._store.files.list("tables/images"))
        with self._lock:
            if self._frame is None or tables != self._frame_tables:
                self._frame, self._frame_tables = self._store.image_frame(), tables
            frame = self._frame
        entries = [entry.image for name in self._library.characters() for entry in self._library.pool(name)]
        uploaded = [record for gate in self._reviews.gates() for record in self._reviews.corrections(gate).values()]
        beside = frame_of_rows((*entries, *uploaded), ImageRecord)
        return _with_cells(pl.concat([frame, beside]).unique("digest", keep="first", maintain_order=True))

    def loras(self) -> list[LoraView]:
        """Every LoRA version, without samples and curves; champions first, then by name."""
        promotions = self._promotions()
        trained = self._trained()
        views = [self._lora_view(result.lora, promotions) for result in trained.values()]
        return sorted(views, key=lambda view: (not view.is_champion, view.character or "~", view.record.name))

    def lora(self, digest: str) -> LoraView:
        """One LoRA with samples, curve and benchmarks; raises NotFoundError."""
        record = self.provenance().find(digest)
        trained = self._trained()
        if not isinstance(record, LoraRecord) or record.digest not in trained:
            raise NotFoundError(f"There is no LoRA {digest[:12]}.")
        result = trained[record.digest]
        view = self._lora_view(result.lora, self._promotions())
        benchmarks = [one for one in self._benchmarks() if one.challenger.lora == record.digest]
        return view.model_copy(
            update={
                "samples": result.samples,
                "losses": result.losses,
                "benchmarks": tuple(
                    BenchmarkView(
                        challenger=one.challenger, champion=one.champion, comparison=one.comparison, grid=one.grid
                    )
                    for one in benchmarks
                ),
            }
        )

    def scores(self, character: str) -> list[TurnScore]:
        """The model cards of a character's LoRAs over its turns."""
        found = []
        for ended in self._library.ended_turns(character):
            if ended.challenger is not None:
                role = "promoted" if ended.outcome == "promoted" else "kept back"
                found.append(
                    TurnScore(
                        character=character,
                        turn=ended.number,
                        role=role,
                        lora=ended.challenger.lora,
                        scorecard=ended.challenger,
                    )
                )
        return sorted(found, key=lambda score: score.turn)

    def prompts(self, character: str | None = None) -> PromptStatistics:
        """How prompt templates fared at all gates so far, open ones as they stand."""
        records: list[ImageRecord] = []
        screenings: list[Screening] = []
        decisions: list[FinalDecision] = []
        for name in self._reviews.gates():
            session = self._reviews.get(name)
            if not session.of_kind.judges_new or (character is not None and session.character != character):
                continue
            records += self._reviews.images(session)
            screenings += self._reviews.screenings(session).values()
            closed = self._reviews.closed(name)
            if closed is not None:
                decisions += self._reviews.decisions(closed).decisions
            else:
                standing = map(final, self._reviews.current(name).values())
                decisions += [line for line in standing if line is not None]
        texts = {record.template: record.prompt or "" for record in records if record.template is not None}
        looked_at = [line for line in decisions if not line.by_policy]
        return PromptStatistics(
            rows=template_statistics(records, screenings, decisions),
            texts=texts,
            reviewed=len(looked_at),
            good=sum(line.verdict is Verdict.GOOD for line in looked_at),
        )

    def _images_of(self, character: str) -> set[Digest]:
        own = {entry.image.digest for entry in self._library.pool(character)}
        for name in self._reviews.gates():
            session = self._reviews.get(name)
            if session.character == character:
                own |= {record.digest for record in self._reviews.images(session)}
                own |= self._reviews.corrections(name).keys()
        return own

    def _promotions(self) -> dict[Digest, tuple[str, int, bool]]:
        """Character, turn, and whether it is the champion now, of every LoRA that was promoted."""
        found = {}
        for name in self._library.characters():
            lines = self._library.champions(name)
            for line in lines:
                found[line.lora.digest] = (name, line.turn, line.lora.digest == lines[-1].lora.digest)
        return found

    def _trained(self) -> dict[Digest, TrainResult]:
        found = {}
        for path in self._store.files.list("stages/train"):
            if path.endswith("/manifest.json"):
                result = TrainResult.from_bytes(self._store.files.read(path), where=path)
                found[result.lora.digest] = result
        return found

    def _benchmarks(self) -> list[BenchmarkResult]:
        return [
            BenchmarkResult.from_bytes(self._store.files.read(path), where=path)
            for path in self._store.files.list("stages/benchmark")
            if path.endswith("/manifest.json")
        ]

    def _lora_view(self, record: LoraRecord, promotions: dict[Digest, tuple[str, int, bool]]) -> LoraView:
        name, turn, champion = promotions.get(record.digest, (None, None, False))
        if name is None:
            triggers = {self._library.character(one).trigger: one for one in self._library.characters()}
            name = triggers.get(record.trigger or "")
        return LoraView(record=record, character=name, promoted_in_turn=turn, is_champion=champion)


def _with_cells(pictures: pl.DataFrame) -> pl.DataFrame:
    """The table with the column `shown_cell`: worked out once for each set of labels, of which there are few."""
    kinds = pictures.select("labels", "cell").unique()
    cells = [shown_cell(Labels.model_validate(row["labels"]), row["cell"]) for row in kinds.iter_rows(named=True)]
    named = kinds.with_columns(pl.Series("shown_cell", cells, dtype=pl.String))
    return pictures.join(named, on=["labels", "cell"], how="left", nulls_equal=True, maintain_order="left")
