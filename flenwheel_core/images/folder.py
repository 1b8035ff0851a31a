"""Folders of source pictures as people and other trainers keep them: pictures, and captions beside them or in tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flenwheel_core.errors import InputError
from flenwheel_core.images.caption_tables import TABLE_SUFFIXES, PictureNames, caption_in_json, captions_in_table
from flenwheel_core.images.entries import PICTURE_SUFFIXES, Entry, is_file, list_entries, read_entry
from flenwheel_core.images.folder_notes import FolderNotes, listed
from flenwheel_core.images.folder_shapes import CACHE_SUFFIXES, WHY, role_of, shape_of, stem_of
from flenwheel_core.images.names import written_name
from flenwheel_core.plain_text import cut_to_bytes, decode_text, one_line

SIDECARS = (".txt", ".caption", ".cap", ".json")
"""Suffixes of a caption beside its picture; the first that is there counts."""
IGNORED = frozenset({".md", ".toml", ".yaml", ".yml", ".ini", ".db", ".log"})
CAPTION_BYTES = 20_000
_TEXT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class FoundFile:
    """A file that may be a picture. Nothing of it has been read yet."""

    name: str
    """Path below the folder, with forward slashes."""
    path: Path
    caption: str | None


@dataclass(frozen=True)
class FoundFolder:
    """What a folder holds, and one line about everything in it that is not used."""

    files: tuple[FoundFile, ...]
    notes: tuple[str, ...]


def find_sources(place: Path) -> FoundFolder:
    """The pictures of a folder (subfolders too) or a single picture, in the order of their names, with their captions.

    Hidden files and links that lead out of the folder are left alone. Raises InputError if there is no such place.
    """
    notes = FolderNotes()
    if is_file(place):
        picture = Entry(written_name(place.name), place)
        beside = [
            Entry(written_name(path.name), path)
            for path in sorted(place.parent.glob("*"))
            if path.suffix.lower() in SIDECARS and path.stem in (place.stem, place.name) and is_file(path)
        ]
        captions = _Captions([picture], [], beside, notes)
        return FoundFolder((FoundFile(picture.name, place, captions.of(picture.name)),), notes.lines())
    entries = list_entries(place)
    for line in entries.notes:
        notes.say(line)
    pictures, others = _pictures_of(entries.files, notes)
    tables = [entry for entry in others if entry.path.suffix.lower() in TABLE_SUFFIXES]
    shape = shape_of([entry.name for entry in entries.files], [entry.name for entry in tables])
    taken = {entry.name for entry in pictures}
    left_out = [entry for entry in entries.files if _may_be_picture(entry) and entry.name not in taken]
    captions = _Captions(pictures, left_out, others, notes)
    files = tuple(FoundFile(entry.name, entry.path, captions.of(entry.name)) for entry in pictures)
    captions.say_unused()
    return FoundFolder(files, (*shape, *notes.lines()))


def _may_be_picture(entry: Entry) -> bool:
    return entry.path.suffix.lower() in PICTURE_SUFFIXES or not entry.path.suffix


def _pictures_of(files: Sequence[Entry], notes: FolderNotes) -> tuple[list[Entry], list[Entry]]:
    """The pictures of the character, and the files that may hold captions. What is neither is named."""
    stems = frozenset(stem_of(entry.name) for entry in files if _may_be_picture(entry))
    pictures, others = [], []
    for entry in files:
        suffix = entry.path.suffix.lower()
        if _may_be_picture(entry):
            role = role_of(entry.name, stems)
            if role is None:
                pictures.append(entry)
            else:
                notes.about(entry.name, WHY[role])
        elif suffix in SIDECARS or suffix in TABLE_SUFFIXES:
            others.append(entry)
        elif suffix in CACHE_SUFFIXES:
            notes.about(entry.name, "left out: what another trainer computed from the pictures.")
        elif suffix == ".parquet":
            notes.about(entry.name, "captions in Parquet are not read; save them as metadata.csv.")
        elif suffix not in IGNORED:
            notes.about(entry.name, "left out, it is no picture by its name.")
    return pictures, others


class _Captions:
    """The captions of a folder: what a table says of a picture counts before the file beside it."""

    def __init__(
        self, pictures: Sequence[Entry], left_out: Sequence[Entry], texts: Sequence[Entry], notes: FolderNotes
    ) -> None:
        self._notes = notes
        self._beside: dict[str, list[Entry]] = {}
        self._used: set[str] = set()
        named = [entry.name for entry in (*pictures, *left_out)]
        self._known_stems = {stem_of(name) for name in named} | {name.lower() for name in named}
        known, others = (PictureNames([entry.name for entry in group]) for group in (pictures, left_out))
        self._texts = []
        self._table: dict[str, str] = {}
        for entry in texts:
            suffix = entry.path.suffix.lower()
            if suffix in SIDECARS and (stem_of(entry.name) in self._known_stems or suffix not in TABLE_SUFFIXES):
                self._texts.append(entry)
                self._beside.setdefault(stem_of(entry.name), []).append(entry)
            elif (text := self._read(entry)) is not None:
                self._table.update(captions_in_table(entry.name, text, known, others, notes))

    def of(self, name: str) -> str | None:
        """The caption of a picture, in one line."""
        caption = self._table.get(name)
        keys = dict.fromkeys((stem_of(name), name.lower()))
        found = [entry for key in keys for entry in self._beside.get(key, ())]
        for entry in sorted(found, key=lambda entry: _order(entry, name)):
            self._used.add(entry.name)
            if caption is not None:
                self._notes.about(entry.name, "not used: the picture has another caption already.")
                continue
            text = self._read(entry)
            if text is None:
                continue
            json = entry.path.suffix.lower() == ".json"
            caption = one_line((caption_in_json(text) or "") if json else text) or None
        return None if caption is None else self._cut(name, caption)

    def say_unused(self) -> None:
        """A line about texts that belong to no picture."""
        stray = [e.name for e in self._texts if e.name not in self._used and stem_of(e.name) not in self._known_stems]
        if stray:
            self._notes.say(f"{listed(stray)}: not used, no picture has this name.")

    def _cut(self, name: str, caption: str) -> str:
        cut = cut_to_bytes(caption, CAPTION_BYTES)
        if cut != caption:
            size = len(caption.encode("utf-8", "replace"))
            self._notes.about(name, f"its caption has {size} bytes; the first {CAPTION_BYTES} are used.")
        return cut

    def _read(self, entry: Entry) -> str | None:
        try:
            text = decode_text(read_entry(entry.path, _TEXT_BYTES))
        except InputError as error:
            self._notes.about(entry.name, f"not used. {error.what} {error.why}".strip())
            return None
        except ValueError as error:
            self._notes.about(entry.name, f"not used, {error}.")
            return None
        if text.note:
            self._notes.about(entry.name, text.note)
        return text.text


def _order(entry: Entry, name: str) -> tuple[bool, int, str]:
    """The file of exactly the picture's own name first, then by suffix."""
    exact = PurePosixPath(entry.name).stem in (PurePosixPath(name).stem, PurePosixPath(name).name)
    return not exact, SIDECARS.index(entry.path.suffix.lower()), entry.name
