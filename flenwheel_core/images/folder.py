"""Folders of source pictures as people keep them: pictures, `.txt` captions beside them, Hugging Face `metadata.jsonl`."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from flenwheel_core.errors import InputError
from flenwheel_core.images.entries import PICTURE_SUFFIXES, is_file, list_entries, read_entry
from flenwheel_core.images.names import printable_name, printable_path, written_name

CAPTION_KEYS = ("text", "caption", "prompt", "additional_feature")
NAME_KEYS = ("file_name", "image", "file")
METADATA = "metadata.jsonl"
IGNORED = frozenset({".txt", ".jsonl", ".json", ".md", ".csv", ".toml", ".yaml", ".yml", ".ini", ".db"})
CAPTION_BYTES = 20_000


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
    """The pictures of a folder (subfolders too) or a single picture, in the order of their names.

    Hidden files and links that lead out of the folder are left alone. Raises InputError if there is no such place.
    """
    if is_file(place):
        notes: list[str] = []
        caption = _sidecar(place, notes)
        return FoundFolder((FoundFile(written_name(place.name), place, caption),), tuple(notes))
    entries = list_entries(place)
    notes = [*entries.notes]
    captions = _metadata_captions(place, notes)
    found = []
    for entry in entries.files:
        suffix = entry.path.suffix.lower()
        if suffix in IGNORED:
            continue
        if suffix not in PICTURE_SUFFIXES and suffix:
            notes.append(f"{printable_path(entry.name)}: left out, it is no picture by its name.")
            continue
        found.append(FoundFile(entry.name, entry.path, captions.pop(entry.name, None) or _sidecar(entry.path, notes)))
    notes += [f"{METADATA} names {printable_path(name)}, which is not there." for name in sorted(captions)]
    return FoundFolder(tuple(found), tuple(notes))


def _sidecar(path: Path, notes: list[str]) -> str | None:
    """The text of `picture.txt` or `picture.png.txt`, if there is one."""
    for candidate in (path.with_suffix(".txt"), path.with_name(f"{path.name}.txt")):
        if not os.path.lexists(candidate):
            continue
        try:
            data = read_entry(candidate)[:CAPTION_BYTES]
            return " ".join(data.decode("utf-8-sig").split()) or None
        except InputError as error:
            notes.append(f"{error.what} Its caption is not used.")
        except UnicodeDecodeError:
            notes.append(f"{printable_name(candidate.name)}: no UTF-8 text; its caption is not used.")
    return None


def _metadata_captions(folder: Path, notes: list[str]) -> dict[str, str]:
    """Captions by file name out of the folder's metadata.jsonl."""
    path = folder / METADATA
    if not os.path.lexists(path):
        return {}
    captions: dict[str, str] = {}
    try:
        text = read_entry(path).decode("utf-8", "replace")
    except InputError as error:
        notes.append(f"{error.what} Its captions are not used.")
        return {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            notes.append(f"{METADATA} line {number}: no JSON object; not used.")
            continue
        name = next((row[key] for key in NAME_KEYS if isinstance(row.get(key), str)), None)
        caption = next((row[key] for key in CAPTION_KEYS if isinstance(row.get(key), str)), None)
        if name is None or caption is None:
            notes.append(f"{METADATA} line {number}: needs a file_name and a text; not used.")
            continue
        captions[name] = " ".join(caption.split())
    return captions
