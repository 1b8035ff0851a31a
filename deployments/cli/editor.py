"""The commands `editor ...`: what the editor has learned, and its lessons as folders."""

from pathlib import Path

from cyclopts import App

from deployments.cli.run import end_open_turn
from deployments.cli.terminal import plain_console
from flenwheel_core.base.names import CHARACTER
from flenwheel_core.base.settings import Settings
from flenwheel_core.lessons.checks import check_triplets
from flenwheel_core.lessons.collect import collect_triplets
from flenwheel_core.lessons.folders import export_triplets, import_triplets
from flenwheel_core.lessons.waiting import waiting_triplets
from flenwheel_core.library.editors import EditorLibrary
from flenwheel_core.store import Store
from flenwheel_core.store.triplets import imported_triplets

console = plain_console()

editor = App(
    name="editor", help="What the editor has learned from approved and corrected edits, and its lessons as folders."
)


def add_to(app: App) -> None:
    """Adds these commands to the `flenwheel` command."""
    app.command(editor)


def _store() -> Store:
    settings = Settings()
    return Store(settings.store_url, settings.store_options)


@editor.command
def status() -> None:
    """Show how many lessons there are, how many are new, and the LoRAs the editor was given."""
    store = _store()
    library, triplets = EditorLibrary(store), collect_triplets(store).triplets
    corrected = sum(triplet.kind == "corrected" for triplet in triplets)
    console.print(f"{len(triplets)} lessons: {corrected} corrected, {len(triplets) - corrected} approved edits")
    console.print(f"{waiting_triplets(store)} since the editor last learned")
    for line in library.champions():
        console.print(
            f"{line.at:%Y-%m-%d %H:%M}  {line.lora.name}  {line.lora.images} triplets  {line.lora.base_model}"
        )
    numbers = {turn.flow_run: f"turn {turn.number}" for turn in library.turns()}
    for run in library.ended_runs():
        name = numbers.get(run.flow_run, f"run {run.flow_run}")
        console.print(f"{run.at:%Y-%m-%d %H:%M}  {name}: {run.outcome}, {run.collected} triplets collected")


@editor.command
def end(number: int | None = None) -> None:
    """End an open turn of the editor, also one whose run failed, crashed, was cancelled or deleted in Prefect.

    Parameters
    ----------
    number
        The turn's number; the newest open turn if not given.
    """
    settings = Settings()
    console.print(end_open_turn(settings, _store(), None, number))


@editor.command(name="export-triplets")
def export_lessons(folder: Path) -> None:
    """Write all lessons into a folder: control/, target/ with captions, and metadata.jsonl for Hugging Face.

    Parameters
    ----------
    folder
        A new or empty folder.
    """
    store = _store()
    number = export_triplets(store, collect_triplets(store), folder)
    console.print(f"{number} triplets in {folder}")


@editor.command(name="import-triplets")
def import_lessons(folder: Path, *, character: str = "imported") -> None:
    """Take lessons from a folder: control/ and target/ with equal names, NAME.txt with the prompt; or metadata.jsonl.

    Parameters
    ----------
    folder
        The folder.
    character
        The name the lessons are filed under.
    """
    store, settings = _store(), Settings()
    CHARACTER.check(character)
    imported = import_triplets(store, folder, character=character, author=settings.author)
    known = {(triplet.source, triplet.prompt, triplet.target) for triplet in imported_triplets(store).read()}
    fresh = [t for t in imported.triplets if (t.source, t.prompt, t.target) not in known]
    imported_triplets(store).extend(fresh)
    for note in imported.notes:
        console.print(note)
    for check in check_triplets(store, fresh):
        for problem in check.problems:
            console.print(f"{check.target[:12]}: {problem.code} {problem.detail}".rstrip())
    console.print(f"{len(fresh)} new triplets, {len(imported.triplets) - len(fresh)} were here already")
