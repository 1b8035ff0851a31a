"""The report of a turn: what was made, what people decided, how champion and challenger compare, and where the files are."""

import io
from collections import Counter

from PIL import Image
from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest, short
from flenwheel_core.documents.decisions import REASONS, ClosedGate, DecisionSet, Verdict
from flenwheel_core.documents.images import is_empty
from flenwheel_core.evaluation.plots import plot_turns
from flenwheel_core.evaluation.report import benchmark_markdown
from flenwheel_core.gates.session import Reviews
from flenwheel_core.images.sheets import Tile, contact_sheet
from flenwheel_core.library.characters import Library
from flenwheel_core.library.choices import Choices
from flenwheel_core.reports.evidence import choice_markdown
from flenwheel_core.reports.gate_page import picture_tag
from flenwheel_core.requests.benchmark import BenchmarkResult
from flenwheel_core.requests.export import ExportResult
from flenwheel_core.requests.train import TrainResult
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture

MOST_TILES = 48
TILE_PX = 80
COLUMNS = 12


class TurnFacts(Document):
    """What a report is made from."""

    name: str
    character: str
    number: int
    outcome: str
    recipe: Digest
    sources: Digest | None = None
    gates: tuple[ClosedGate, ...] = ()
    trained: tuple[TrainResult, ...] = ()
    score: BenchmarkResult | None = None
    target_pass_rate: float = 0.8
    champion: str | None = None
    exported: ExportResult | None = None
    injection: str = Field(
        default="", exclude_if=is_empty, description="whether cells were filled by injection, and why"
    )


def turn_report(store: Store, facts: TurnFacts) -> str:
    """The report as markdown with its pictures inside."""
    parts = [f"# {facts.character}, turn {facts.number}: {facts.outcome}", "", *_headline(facts), ""]
    if facts.sources is not None:
        images = [record.digest for record in store.get_images(facts.sources)]
        parts += [f"## {len(images)} sources", "", _sheet(store, images, "sources"), ""]
    if facts.injection:
        parts += [facts.injection, ""]
    for gate in facts.gates:
        parts += _gate(store, gate)
    for trained in facts.trained:
        parts += _training(store, trained)
        choice = Choices(store, facts.character).of(trained.lora)
        parts += choice_markdown(choice) if choice is not None else []
    if facts.score is not None:
        parts += [benchmark_report(store, facts.score), "", *_history(store, facts)]
    if facts.exported is not None:
        parts += ["## Exported", "", *(f"* `{file.name}` `{short(file.digest)}`" for file in facts.exported.files), ""]
        parts += [f"Copy them out with `flenwheel export {facts.character} FOLDER`.", ""]
    pool = Library(store).pool(facts.character)
    real = sum(entry.real for entry in pool)
    parts += [f"Training pool: {len(pool)} pictures, {real} of them real. Recipe `{short(facts.recipe)}`.", ""]
    return "\n".join(parts)


def benchmark_report(store: Store, score: BenchmarkResult) -> str:
    """The benchmark with its grid, as markdown."""
    with Image.open(io.BytesIO(store.get_blob(score.grid))) as grid:
        return f"{benchmark_markdown(score)}\n{picture_tag(grid, 'card grid')}\n"


def _history(store: Store, facts: TurnFacts) -> list[str]:
    """Pass rate, likeness and diversity over the turns so far, from the second turn on."""
    assert facts.score is not None
    earlier = [turn for turn in Library(store).ended_turns(facts.character) if turn.number < facts.number]
    cards = [(turn.number, turn.challenger) for turn in earlier if turn.challenger is not None]
    if not cards:
        return []
    cards.append((facts.number, facts.score.challenger))
    drawn = plot_turns(cards, target_pass_rate=facts.target_pass_rate)
    if drawn is None:
        return ["## Turns so far", "", "No plot: matplotlib is not installed (`pip install 'flenwheel[plots]'`).", ""]
    with Image.open(io.BytesIO(drawn)) as plot:
        return ["## Turns so far", "", picture_tag(plot, "pass rate, likeness and diversity over the turns"), ""]


def _headline(facts: TurnFacts) -> list[str]:
    if facts.score is None:
        return ["The turn was ended at a gate; nothing entered the pool from it."]
    rate = facts.score.challenger.pass_rate
    lines = [f"Champion: **{facts.champion}**."]
    if facts.champion is not None and rate >= facts.target_pass_rate:
        lines.append(
            f"The challenger's first-try pass rate reached the target of {facts.target_pass_rate:.0%}: you may stop here."
        )
    return lines


def _gate(store: Store, gate: ClosedGate) -> list[str]:
    reviews = Reviews(store)
    decisions = reviews.decisions(gate)
    rejected = Counter(reason for decision in decisions.decisions for reason in decision.reasons)
    why = ", ".join(f"{REASONS.get(reason, reason)} {number}" for reason, number in rejected.most_common())
    lines = [
        f"## {gate.gate}: {gate.verdict}",
        "",
        f"{gate.good} good, {gate.needs_correction} needed correction, {gate.reject} rejected, {gate.undecided} undecided; "
        f"answered by {gate.reviewer or 'nobody named'}.",
    ]
    if why:
        lines += ["", f"Reasons: {why}."]
    return [*lines, "", _decided(store, decisions, gate.gate), ""]


def _decided(store: Store, decisions: DecisionSet, name: str) -> str:
    """Good pictures first, green; the others red."""
    order = sorted(decisions.decisions, key=lambda decision: decision.verdict is not Verdict.GOOD)
    tiles = [
        Tile(load_picture(store, decision.image), good=decision.verdict is Verdict.GOOD)
        for decision in order[:MOST_TILES]
    ]
    return (
        picture_tag(contact_sheet(tiles, columns=COLUMNS, tile_px=TILE_PX), name) if tiles else "Nothing was decided."
    )


def _training(store: Store, trained: TrainResult) -> list[str]:
    lora = trained.lora
    lines = [
        f"## {lora.name}",
        "",
        f"{lora.steps} steps on {lora.images} pictures, rank {lora.rank}. `{short(lora.digest)}`",
    ]
    if trained.losses:
        lines += ["", f"Loss {trained.losses[0].loss:.4f} at first, {trained.losses[-1].loss:.4f} at last."]
    samples = [sample.image for sample in trained.samples]
    return [*lines, "", *([_sheet(store, samples[-COLUMNS:], f"samples of {lora.name}"), ""] if samples else [])]


def _sheet(store: Store, digests: list[str], name: str) -> str:
    tiles = [Tile(load_picture(store, digest)) for digest in digests[:MOST_TILES]]
    return picture_tag(contact_sheet(tiles, columns=COLUMNS, tile_px=TILE_PX), name)
