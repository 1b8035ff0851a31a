"""Commands that look things up: lineage, reproduce, export."""

from pathlib import Path

from cyclopts import App

from deployments.cli.terminal import plain_console, progress_sink
from flenwheel_core.base.errors import InputError, NotFoundError
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Library
from flenwheel_core.records.provenance import Provenance
from flenwheel_core.records.provenance import reproduce as reproduce_record
from flenwheel_core.requests.export import ExportResult
from flenwheel_core.store import Store

console = plain_console()


def add_to(app: App) -> None:
    """Adds these commands to the `flenwheel` command."""
    app.command(lineage)
    app.command(reproduce)
    app.command(export)


def _store() -> tuple[Settings, Store]:
    settings = Settings()
    return settings, Store(settings.store_url, settings.store_options)


def lineage(id: str) -> None:
    """Show where a picture or LoRA comes from: prompts, seeds, models, scores, verdicts, and what it was made from.

    Parameters
    ----------
    id
        The first characters of a digest, or the path of a PNG or safetensors file.
    """
    _, store = _store()
    console.print("\n".join(Provenance(store).lineage(_digest_of(id)).lines()))


def reproduce(id: str) -> int:
    """Make a picture or LoRA again from its record and compare.

    Parameters
    ----------
    id
        The first characters of a digest, or the path of a PNG or safetensors file.
    """
    settings, _ = _store()
    with progress_sink() as sink:
        result = reproduce_record(settings, _digest_of(id), sink)
    console.print(("identical: " if result.identical else "different: ") + result.detail)
    return 0 if result.identical else 1


def export(character: str, folder: Path, *, turn: int | None = None) -> None:
    """Copy the champion LoRA of a character, with model card, pictures and provenance, into a folder.

    Parameters
    ----------
    character
        The character's name.
    folder
        Where the files go; existing files of the same names are kept unless they are equal.
    turn
        The turn whose export to take; the champion's if not given.
    """
    _, store = _store()
    library = Library(store)
    library.character(character)
    champions = [line for line in library.champions(character) if turn is None or line.turn == turn]
    if not champions:
        raise NotFoundError(f"{character} has no champion{'' if turn is None else f' from turn {turn}'} yet.")
    wanted = champions[-1].lora.digest
    result = _find_export(store, wanted)
    folder.mkdir(parents=True, exist_ok=True)
    for file in result.files:
        path = folder / Path(file.name).name
        data = store.get_blob(file.digest)
        if path.exists() and path.read_bytes() != data:
            raise InputError(f"{path} is there already, with other content.", remedy="Choose another folder.")
        path.write_bytes(data)
        console.print(str(path))


def _find_export(store: Store, lora: str) -> ExportResult:
    for path in store.files.list("stages/export"):
        if path.endswith("/manifest.json"):
            result = ExportResult.from_bytes(store.files.read(path), where=path)
            if any(file.digest == lora for file in result.files):
                return result
    raise NotFoundError(
        "That LoRA was not exported.", why="its turn has not reached the export.", remedy="Wait for the turn to end."
    )


def _digest_of(id_: str) -> str:
    """A digest as it is, or the digest of a file's bytes."""
    from flenwheel_core.base.ids import digest_bytes

    path = Path(id_)
    return digest_bytes(path.read_bytes()) if path.is_file() else id_
