"""What training would get if a gate were approved now: counts, coverage, the share of real pictures, and what is doubtful."""

from collections import Counter
from collections.abc import Sequence

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import GateError
from flenwheel_core.documents.decisions import FinalDecision, GateVerdict, UndecidedPolicy, Verdict
from flenwheel_core.documents.images import ImageRecord, Labels
from flenwheel_core.documents.prompts import CARD_CELLS, CELLS_BY_ID, cell_of
from flenwheel_core.gates.kinds import KindOfGate
from flenwheel_core.gates.session import OpenedGate
from flenwheel_core.gates.settle import enough, lessons, settle, usable
from flenwheel_core.library.characters import PoolEntry

ADVISED_REAL_SHARE = 0.4
"""Below this share of real pictures a LoRA trained on its own output drifts; the recipes' default floor."""
ADVISED_TRIPLETS = 10


class CellCoverage(Document):
    """How full one cell of the model card is."""

    cell: str
    real: int = Field(description="real sources that show it")
    made: int = Field(description="made pictures that are in the pool already")
    new: int = Field(description="good and corrected pictures of this gate, of its earlier rounds too")


class FinishSummary(Document):
    """What a gate leaves behind if it is approved now."""

    gate: str
    undecided_policy: UndecidedPolicy
    good: int
    needs_correction: int
    reject: int
    undecided: int
    conflicts: int
    by_policy: int = Field(description="good ones that nobody looked at")
    set_aside: int = Field(default=0, description="rejected ones that the critic set aside and nobody looked at")
    minimum: int
    enough: bool
    corrections: int = Field(description="corrected pictures that were given")
    usable: int = Field(description="good and corrected pictures: what counts towards the minimum")
    better_prompts: int = Field(description="edits that are made again with a better prompt")
    triplets: int = Field(description="lessons for the editor: approved and corrected edits")
    pool_real: int
    pool_made: int
    training_pictures: int
    real_share: float | None
    coverage: tuple[CellCoverage, ...]
    covered_cells: int
    reasons: dict[str, int] = Field(description="how often each reason for a rejection or correction was given")
    warnings: tuple[str, ...]


def summarise(opened: OpenedGate, pool: Sequence[PoolEntry], undecided: UndecidedPolicy) -> FinishSummary:
    """The summary of a gate as its decisions stand now."""
    state = opened.state()
    session = opened.session
    final = settle(opened.images, opened.screenings, state, undecided, "policy", set_aside=opened.set_aside)
    of = {verdict: [line for line in final if line.verdict is verdict] for verdict in Verdict}
    good, correct = of[Verdict.GOOD], of[Verdict.NEEDS_CORRECTION]
    kept, kind = usable(final), session.of_kind
    pictures = _entering(opened, kept, pool) if kind.feeds_pool else []
    coverage = coverage_of(pool, pictures)
    real = sum(entry.real for entry in pool)
    made = len(pool) - real
    total = len(pool) + len(pictures)
    conflicts = len(state.conflicts())
    summary = FinishSummary(
        gate=session.gate,
        undecided_policy=undecided,
        good=len(good),
        needs_correction=len(correct),
        reject=len(of[Verdict.REJECT]),
        undecided=len(opened.images) - len(final) - conflicts,
        conflicts=conflicts,
        by_policy=sum(line.by_policy for line in good),
        set_aside=sum(line.by_policy for line in of[Verdict.REJECT]),
        minimum=session.minimum,
        enough=enough(final, session.minimum),
        corrections=sum(line.corrected for line in kept),
        usable=len(kept),
        better_prompts=sum(line.again_with is not None for line in correct),
        triplets=len(lessons(final, kind)),
        pool_real=real,
        pool_made=made,
        training_pictures=total,
        real_share=real / total if total else None,
        coverage=coverage,
        covered_cells=sum(row.real + row.made + row.new > 0 for row in coverage),
        reasons=dict(Counter(reason for line in (*of[Verdict.REJECT], *correct) for reason in line.reasons)),
        warnings=(),
    )
    return summary.model_copy(update={"warnings": _warnings(summary, kind, good, correct)})


def _entering(opened: OpenedGate, kept: Sequence[FinalDecision], pool: Sequence[PoolEntry]) -> list[ImageRecord]:
    """What an approval brings into the pool: the usable pictures of all rounds, but for those that it holds already."""
    found = {record.digest: record for record in opened.earlier}
    found |= {line.usable: opened.by_digest[line.image] for line in kept if line.usable is not None}
    held = {entry.image.digest for entry in pool}
    return [record for digest, record in found.items() if digest not in held]


def too_few(
    opened: OpenedGate, verdict: GateVerdict, undecided: UndecidedPolicy, *, override_minimum: bool
) -> FinishSummary | None:
    """The summary, if an approval must be refused because it leaves fewer usable pictures than the gate asks for; None if it is fine."""
    if verdict != "approve" or override_minimum:
        return None
    summary = summarise(opened, (), undecided)
    return None if summary.enough else summary


def check_answer(
    opened: OpenedGate, verdict: GateVerdict, undecided: UndecidedPolicy, *, override_minimum: bool, remedy: str
) -> None:
    """Raises GateError for an approval with too few usable pictures; `remedy` says what can be done where the answer was given."""
    short = too_few(opened, verdict, undecided, override_minimum=override_minimum)
    if short is not None:
        raise GateError(
            f"Only {short.usable} pictures are good; this gate asks for {short.minimum}.",
            why=opened.session.of_kind.too_few,
            remedy=remedy,
        )


def picture_cell(record: ImageRecord) -> str | None:
    """The model-card cell a picture fills by its labels, or was made for."""
    return shown_cell(record.labels, record.cell)


def shown_cell(labels: Labels, made_for: str | None) -> str | None:
    """The model-card cell that labels fill, or else the one that the picture was made for."""
    found = cell_of(labels)
    if found is not None:
        return found.id
    return made_for if made_for in CELLS_BY_ID else None


def coverage_of(pool: Sequence[PoolEntry], fresh: Sequence[ImageRecord]) -> tuple[CellCoverage, ...]:
    """How full each cell of the model card is with the pool, and with further pictures."""
    real = Counter(picture_cell(entry.image) for entry in pool if entry.real)
    made = Counter(picture_cell(entry.image) for entry in pool if not entry.real)
    new = Counter(picture_cell(record) for record in fresh)
    return tuple(
        CellCoverage(cell=cell.id, real=real[cell.id], made=made[cell.id], new=new[cell.id]) for cell in CARD_CELLS
    )


def _warnings(
    summary: FinishSummary, kind: KindOfGate, good: Sequence[FinalDecision], correct: Sequence[FinalDecision]
) -> tuple[str, ...]:
    found = []
    if not summary.enough:
        found.append(f"Only {summary.usable} good pictures; this gate asks for {summary.minimum}.")
    if summary.conflicts:
        found.append(f"{summary.conflicts} pictures are in conflict between reviewers; they will be left out.")
    if summary.undecided:
        found.append(f"{summary.undecided} pictures are undecided; they will be left out.")
    if summary.by_policy:
        found.append(f"{summary.by_policy} of the good pictures passed screening, but nobody looked at them.")
    if summary.set_aside:
        found.append(f"{summary.set_aside} pictures were set aside by the critic; nobody looked at them.")
    idle = sum(line.usable is None and line.again_with is None for line in correct)
    if idle:
        found.append(f"{idle} pictures need correction but have neither a corrected picture nor a better prompt.")
    if kind.lessons == "approves" and summary.triplets < ADVISED_TRIPLETS:
        found.append(f"{summary.triplets} triplets; {ADVISED_TRIPLETS} are the least to train an editor on.")
    if not kind.feeds_pool:
        return tuple(found)
    if summary.pool_real == 0:
        found.append("The training pool has no real sources yet; the share of real pictures is not known.")
    elif summary.real_share is not None and summary.real_share < ADVISED_REAL_SHARE:
        found.append(
            f"Real pictures are {summary.real_share:.0%} of the pool; below {ADVISED_REAL_SHARE:.0%} training draws real ones more often."
        )
    if kind.aims_at_cells and summary.covered_cells < len(CARD_CELLS):
        found.append(f"{len(CARD_CELLS) - summary.covered_cells} of {len(CARD_CELLS)} model-card cells stay empty.")
    return tuple(found)
