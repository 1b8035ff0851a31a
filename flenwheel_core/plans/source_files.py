"""Pictures and masks that a person gives, on their way into the library: their bytes are kept, and what cannot be read is named."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from flenwheel_core.base.errors import InputError
from flenwheel_core.datasets.prepare import is_prepared
from flenwheel_core.datasets.select import Part
from flenwheel_core.images.entries import read_entry
from flenwheel_core.images.folder import FoundFile, FoundFolder, find_sources
from flenwheel_core.images.names import printable_path
from flenwheel_core.requests.ingest import SourceFile
from flenwheel_core.store import Store

LONGEST_NAME = 300


@dataclass(frozen=True)
class KeptFiles:
    """The files whose bytes are in the store, and one line about everything that was left out."""

    files: tuple[SourceFile, ...]
    notes: tuple[str, ...]


def sources_in(place: Path) -> FoundFolder:
    """The pictures of a folder, or a single one. Of a prepared set of paintings only its parts: what statistics drew beside them is none.

    Raises InputError if there is no such place.
    """
    found = find_sources(place)
    if not is_prepared(place):
        return found
    parts = tuple(f"{part}/" for part in get_args(Part))
    return replace(found, files=tuple(file for file in found.files if file.name.startswith(parts)))


def keep_files(store: Store, found: FoundFolder) -> KeptFiles:
    """Keeps the bytes of the files that were found. One that cannot be read is a note, and the others are kept."""
    files, notes = [], list(found.notes)
    for file in found.files:
        try:
            data = read_entry(file.path)
        except InputError as error:
            notes.append(f"{printable_path(file.name)}: left out. {_why(error)}.")
            continue
        digest, mask = store.put_blob(data), _kept_mask(store, file, notes)
        files.append(SourceFile(name=file.name[:LONGEST_NAME], digest=digest, caption=file.caption, mask=mask))
    return KeptFiles(tuple(files), tuple(notes))


def _kept_mask(store: Store, file: FoundFile, notes: list[str]) -> str | None:
    """The digest of a picture's mask; None if it has none that can be read."""
    if file.mask is None:
        return None
    try:
        return store.put_blob(read_entry(file.mask))
    except InputError as error:
        notes.append(f"{printable_path(file.name)}: taken without its mask. {_why(error)}.")
        return None


def _why(error: InputError) -> str:
    return f"{error.what} {error.why}".rstrip(". ")
