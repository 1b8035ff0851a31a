"""Folders of source pictures as people and other trainers keep them: pictures, their masks, and captions beside them or in tables."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.plain_text import cut_to_bytes, decode_text
from flenwheel_core.images.caption_tables import (
    TABLE_NAMES,
    TABLE_SUFFIXES,
    PictureNames,
    captions_in_table,
    lines_naming_pictures,
)
from flenwheel_core.images.caption_text import caption_in
from flenwheel_core.images.entries import PICTURE_SUFFIXES, is_file, list_entries, read_entry
from flenwheel_core.images.folder_masks import is_mask_beside, masks_of
from flenwheel_core.images.folder_notes import FolderNotes, listed
from flenwheel_core.images.folder_shapes import CACHE_SUFFIXES, WHY, role_of, shape_of, stem_of
from flenwheel_core.images.names import same_letters, written_name

SIDECARS = (".txt", ".caption", ".captions", ".cap", ".text", ".prompt", ".tags", ".json")
"""Suffixes of a caption beside its picture; the first that is there counts."""
IGNORED = frozenset({".md", ".toml", ".yaml", ".yml", ".ini", ".db", ".log"})
_CAPTION_FOLDER = re.compile(r"captions?|texts?|txts?|labels?|tags|prompts|annotations")
CAPTION_BYTES = 20_000
TEXT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class FoundFile:
    """A file that may be a picture. Nothing of it has been read yet."""

    name: str
    """Path below the folder, with forward slashes."""
    path: Path
    caption: str | None
    mask: Path | None = None
    """The file that may be its mask."""


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
        name = written_name(place.name)
        beside = {written_name(path.name): path for path in sorted(place.parent.glob("*")) if is_file(path)}
        texts = [
            other
            for other, path in beside.items()
            if path.suffix.lower() in SIDECARS and path.stem in (place.stem, place.name)
        ]
        captions = _Captions([name], [], texts, lambda text: read_entry(beside[text], TEXT_BYTES), notes)
        masks = masks_of(
            [name], [other for other in beside if _may_be_picture(other) and is_mask_beside(other, name)], notes
        )
        mask = beside[masks[name]] if name in masks else None
        return FoundFolder((FoundFile(name, place, captions.of(name), mask),), notes.lines())
    entries = list_entries(place)
    paths: dict[str, Path] = {}
    for entry in entries.files:
        name = entry.name
        while name in paths:  # bytes that are no UTF-8 all look the same
            name = str(PurePosixPath(name).with_stem(f"{PurePosixPath(name).stem}~"))
        paths[name] = entry.path
    sorted_ = sort_folder(tuple(paths), lambda name: read_entry(paths[name], TEXT_BYTES))
    masked = {name: paths[mask] for name, mask in sorted_.masks.items()}
    files = tuple(FoundFile(name, paths[name], caption, masked.get(name)) for name, caption in sorted_.captions.items())
    return FoundFolder(files, (*entries.notes, *sorted_.notes))


@dataclass(frozen=True)
class SortedFolder:
    """The pictures of the character by name, each with its caption or None, and what is said about the rest."""

    captions: dict[str, str | None]
    masks: Mapping[str, str]
    """The names of masks, by those of the pictures that have one."""
    notes: tuple[str, ...]


def sort_folder(names: Sequence[str], read: Callable[[str], bytes]) -> SortedFolder:
    """What the files of a folder are, by their names; only texts that may hold captions are read.

    `read` gives the bytes of a file and raises InputError if it cannot.
    """
    notes = FolderNotes()
    pictures, masks, others = _pictures_of(names, notes)
    masked = masks_of(pictures, masks, notes)
    taken = set(pictures)
    left_out = [name for name in names if _may_be_picture(name) and name not in taken]
    captions = _Captions(pictures, left_out, others, read, notes)
    found = {name: captions.of(name) for name in pictures}
    captions.say_unused()
    shape = shape_of(names, [name for name in others if _suffix(name) in TABLE_SUFFIXES])
    return SortedFolder(found, masked, (*shape, *notes.lines()))


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _may_be_picture(name: str) -> bool:
    return _suffix(name) in PICTURE_SUFFIXES or not _suffix(name)


def _pictures_of(names: Sequence[str], notes: FolderNotes) -> tuple[list[str], list[str], list[str]]:
    """The pictures of the character, masks, and the files that may hold captions. What is none of these is named."""
    stems = frozenset(stem_of(name) for name in names if _may_be_picture(name))
    pictures, masks, others = [], [], []
    for name in names:
        suffix = _suffix(name)
        if _may_be_picture(name):
            role = role_of(name, stems)
            if role is None:
                pictures.append(name)
            elif role == "mask":
                masks.append(name)
            else:
                notes.about(name, WHY[role])
        elif suffix in SIDECARS or suffix in TABLE_SUFFIXES:
            others.append(name)
        elif suffix in CACHE_SUFFIXES:
            notes.about(name, "left out: what another trainer computed from the pictures.")
        elif suffix == ".parquet":
            notes.about(name, "captions in Parquet are not read; save them as metadata.csv.")
        elif stem_of(name) in stems:
            notes.about(name, f"beside a picture, but not read; captions are read from {', '.join(SIDECARS)}.")
        elif suffix not in IGNORED:
            notes.about(name, "left out, it is no picture by its name.")
    return pictures, masks, others


class _Captions:
    """The captions of a folder: what a table says of a picture counts before the file beside it."""

    def __init__(
        self,
        pictures: Sequence[str],
        left_out: Sequence[str],
        texts: Sequence[str],
        read: Callable[[str], bytes],
        notes: FolderNotes,
    ) -> None:
        self._read_bytes = read
        self._notes = notes
        self._beside: dict[str, list[str]] = {}
        self._used: set[str] = set()
        named = (*pictures, *left_out)
        self._known_stems = {stem_of(name) for name in named} | {same_letters(name) for name in named}
        known, others = PictureNames(pictures), PictureNames(left_out)
        self._table: dict[str, str] = {}
        for name in texts:
            suffix = _suffix(name)
            if suffix in SIDECARS and (stem_of(name) in self._known_stems or suffix not in TABLE_SUFFIXES):
                if stem_of(name) in self._known_stems or not self._is_apart(name, known):
                    self._beside.setdefault(stem_of(name), []).append(name)
            elif (text := self._read(name)) is not None:
                self._table.update(captions_in_table(name, text, known, others, notes))

    def _is_apart(self, name: str, pictures: PictureNames) -> bool:
        """Takes a text that lies apart from its pictures: one with a line a picture, or in a folder of captions."""
        path = PurePosixPath(name)
        if TABLE_NAMES.fullmatch(path.stem):
            text = self._read(name)
            rows = lines_naming_pictures(text or "", pictures, str(path.parent))
            self._table.update(rows)
            return bool(rows) or text is None
        if not _CAPTION_FOLDER.fullmatch(path.parent.name.lower()):
            return False
        picture = pictures.find(path.stem, "")
        if picture is not None:
            self._beside.setdefault(stem_of(picture), []).append(name)
        return picture is not None

    def of(self, name: str) -> str | None:
        """The caption of a picture, in one line."""
        row = self._table.get(name)
        caption = None if row is None else self._caption_in(name, row)
        keys = dict.fromkeys((stem_of(name), same_letters(name)))
        found = [text for key in keys for text in self._beside.get(key, ())]
        for beside in sorted(found, key=lambda text: _order(text, name)):
            self._used.add(beside)
            if caption is not None:
                self._notes.about(beside, "not used: the picture has another caption already.")
                continue
            text = self._read(beside)
            if text is None:
                continue
            caption = self._caption_in(beside, text)
        return None if caption is None else self._cut(name, caption)

    def _caption_in(self, name: str, text: str) -> str | None:
        found = caption_in(text, only_json=_suffix(name) == ".json")
        if found.why:
            whose = "its caption is not used" if _may_be_picture(name) else "not used"
            self._notes.about(name, f"{whose}, {found.why}.")
        return found.text

    def say_unused(self) -> None:
        """A line about texts that belong to no picture."""
        texts = [name for found in self._beside.values() for name in found if name not in self._used]
        stray = [name for name in texts if stem_of(name) not in self._known_stems]
        if stray:
            self._notes.say(f"{listed(stray)}: not used, no picture has this name.")

    def _cut(self, name: str, caption: str) -> str:
        cut = cut_to_bytes(caption, CAPTION_BYTES)
        if cut != caption:
            size = len(caption.encode("utf-8", "replace"))
            self._notes.about(name, f"its caption has {size} bytes; the first {CAPTION_BYTES} are used.")
        return cut

    def _read(self, name: str) -> str | None:
        try:
            text = decode_text(self._read_bytes(name))
        except InputError as error:
            self._notes.about(name, f"not used. {error.what} {error.why}".strip())
            return None
        except ValueError as error:
            self._notes.about(name, f"not used, {error}.")
            return None
        if text.note:
            self._notes.about(name, text.note)
        return text.text


def _order(beside: str, name: str) -> tuple[bool, int, str]:
    """The file of exactly the picture's own name first, then by suffix."""
    exact = PurePosixPath(beside).stem in (PurePosixPath(name).stem, PurePosixPath(name).name)
    return not exact, SIDECARS.index(_suffix(beside)), beside
