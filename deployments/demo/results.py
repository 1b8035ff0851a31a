"""What a demo leaves behind: files a person can look at, and the scoreboard."""

import re
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from flenwheel_core.base.errors import NotFoundError
from flenwheel_core.documents.scores import Scorecard
from flenwheel_core.library.characters import Library
from flenwheel_core.requests.benchmark import BenchmarkRequest, BenchmarkResult
from flenwheel_core.requests.edit_compare import EditCompareRequest, EditCompareResult
from flenwheel_core.requests.export import ExportRequest, ExportResult
from flenwheel_core.store import Store


@dataclass(frozen=True)
class Results:
    """The outcome of one turn."""

    outcome: str
    score: BenchmarkResult | None
    report: Path
    pictures: tuple[Path, ...]
    exported: Path | None
    editor: EditCompareResult | None = None
    """The editor before and after Flywheel 2, if it ran and there were enough lessons."""
    sources_alone: BenchmarkResult | None = None
    """The same card of a LoRA of the source pictures alone, if it was asked for."""


def read_results(store: Store, character: str, folder: Path) -> Results:
    """Writes the last turn's report, contact sheets and LoRA into a folder. Raises NotFoundError if no turn ended."""
    ended = Library(store).ended_turns(character)
    if not ended or ended[-1].report is None:
        raise NotFoundError(f"No turn of {character} has ended.")
    turn = ended[-1]
    text = store.get_blob(turn.report or "").decode()
    pictures = _extract_pictures(text, folder / "sheets")
    report = folder / "report.md"
    report.write_text(
        re.sub(r'<img alt="([^"]*)" src="data:[^"]*">', lambda match: f"![{match[1]}](sheets/{_file(match[1])})", text)
    )
    place = f"turns/{character}/{turn.number:04d}"
    request = store.get_document(f"{place}/benchmark", BenchmarkRequest)
    score = store.get_result(request, BenchmarkResult) if request is not None else None
    wanted = store.get_document(f"{place}/export", ExportRequest)
    exported = store.get_result(wanted, ExportResult) if wanted is not None else None
    if exported is not None:
        (folder / "lora").mkdir(parents=True, exist_ok=True)
        for file in exported.files:
            (folder / "lora" / Path(file.name).name).write_bytes(store.get_blob(file.digest))
    return Results(turn.outcome, score, report, pictures, folder / "lora" if exported is not None else None)


def read_editor_score(store: Store, flow_run: str, folder: Path) -> EditCompareResult | None:
    """What a run of Flywheel 2 found; writes its sheet of held-out edits into the folder. None if it ended before."""
    request = store.get_document(f"editor/runs/{flow_run}/compare", EditCompareRequest)
    score = store.get_result(request, EditCompareResult) if request is not None else None
    if score is not None:
        (folder / "editor.png").write_bytes(store.get_blob(score.sheet))
    return score


def editor_board(score: EditCompareResult) -> Table:
    """The editor before and after, on edits it never saw."""
    table = Table(title=f"{len(score.challenger.edits)} held-out edits: the editor before and after Flywheel 2")
    for name in ("", "before", "after"):
        table.add_column(name, justify="right" if name else "left")
    cards = (score.champion, score.challenger)
    table.add_row("character kept, instruction followed", *(f"{card.pass_rate:.0%}" for card in cards))
    for title, field, form in (
        ("nearer to the right answer than to the rejected one, levels of 255", "nearness", "{:+.1f}"),
        ("identity, mean cosine", "identity", "{:.3f}"),
        ("instruction followed", "followed_rate", "{:.0%}"),
        ("PSNR outside of the edit, dB", "kept_psnr_db", "{:.1f}"),
    ):
        values = [getattr(card, field) for card in cards]
        table.add_row(title, *("-" if value is None else form.format(value) for value in values))
    return table


def _extract_pictures(text: str, folder: Path) -> tuple[Path, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name, data in re.findall(r'<img alt="([^"]*)" src="data:image/jpeg;base64,([^"]*)">', text):
        path = folder / _file(name)
        path.write_bytes(b64decode(data))
        found.append(path)
    return tuple(found)


def _file(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ".jpg"


def scoreboard(score: BenchmarkResult, sources_alone: BenchmarkResult | None = None) -> Table:
    """v1 against the challenger, beside what the source pictures alone give."""
    table = Table(title="Model card, 23 cells: v1 against the challenger")
    table.add_column("")
    cards = {"v1": score.champion, "challenger": score.challenger}
    if sources_alone is not None:
        cards = {"sources alone": sources_alone.challenger, **cards}
    for name in cards:
        table.add_column(name, justify="right")

    def row(title: str, show: "dict[str, str]") -> None:
        table.add_row(title, *(show[name] for name in cards))

    def each(form: str, field: str) -> dict[str, str]:
        return {name: _shown(card, form, field) for name, card in cards.items()}

    row(
        "first-try pass rate (95 % interval)",
        {
            name: f"{card.pass_rate:.0%} ({card.pass_rate_low:.0%} to {card.pass_rate_high:.0%})" if card else "-"
            for name, card in cards.items()
        },
    )
    row("identity, mean cosine", each("{:.3f}", "identity"))
    row("identity, 5 % quantile", each("{:.3f}", "identity_p05"))
    row("angle right", each("{:.0%}", "angle_rate"))
    row("expression right", each("{:.0%}", "expression_rate"))
    row("diversity, effective pictures", each("{:.1f}", "diversity"))
    return table


def _shown(card: Scorecard | None, form: str, field: str) -> str:
    value = getattr(card, field) if card is not None else None
    return "-" if value is None else form.format(value)
