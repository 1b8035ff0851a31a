"""Pictures that a person gives, on their way into the library: their bytes are kept, and what cannot be read is named."""

from dataclasses import dataclass

from flenwheel_core.base.errors import InputError
from flenwheel_core.images.entries import read_entry
from flenwheel_core.images.folder import FoundFolder
from flenwheel_core.images.names import printable_path
from flenwheel_core.requests.ingest import SourceFile
from flenwheel_core.store import Store

LONGEST_NAME = 300


@dataclass(frozen=True)
class KeptFiles:
    """The files whose bytes are in the store, and one line about everything that was left out."""

    files: tuple[SourceFile, ...]
    notes: tuple[str, ...]


def keep_files(store: Store, found: FoundFolder) -> KeptFiles:
    """Keeps the bytes of the files that were found. One that cannot be read is a note, and the others are kept."""
    files, notes = [], list(found.notes)
    for file in found.files:
        try:
            data = read_entry(file.path)
        except InputError as error:
            why = f"{error.what} {error.why}".rstrip(".")
            notes.append(f"{printable_path(file.name)}: left out. {why}.")
            continue
        files.append(SourceFile(name=file.name[:LONGEST_NAME], digest=store.put_blob(data), caption=file.caption))
    return KeptFiles(tuple(files), tuple(notes))
