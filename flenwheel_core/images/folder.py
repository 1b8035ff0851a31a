"""Folders of source pictures as people keep them: pictures, `.txt` captions beside them, Hugging Face `metadata.jsonl`."""

import json
from dataclasses import dataclass
from pathlib import Path

from flenwheel_core.errors import InputError
from flenwheel_core.images.decode import SUFFIXES, printable_name

PICTURE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes) | {".avif"}
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
    if place.is_file():
        return FoundFolder((FoundFile(place.name, place, _sidecar(place, [])),), ())
    if not place.is_dir():
        raise InputError(f"There is no folder {place}.", remedy="Give a folder of pictures, or a picture.")
    notes: list[str] = []
    captions = _metadata_captions(place, notes)
    found = []
    root = place.resolve()
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if path.is_dir() or any(part.startswith(".") for part in Path(name).parts):
            continue
        if not path.resolve().is_relative_to(root):
            notes.append(f"{printable_name(name)}: left out, it is a link that leads out of the folder.")
            continue
        if path.suffix.lower() in IGNORED:
            continue
        if path.suffix.lower() not in PICTURE_SUFFIXES and path.suffix:
            notes.append(f"{printable_name(name)}: left out, it is no picture by its name.")
            continue
        found.append(FoundFile(name, path, captions.pop(name, None) or _sidecar(path, notes)))
    notes += [f"{METADATA} names {printable_name(name)}, which is not there." for name in sorted(captions)]
    return FoundFolder(tuple(found), tuple(notes))


def _sidecar(path: Path, notes: list[str]) -> str | None:
    """The text of `picture.txt` or `picture.png.txt`, if there is one."""
    for candidate in (path.with_suffix(".txt"), path.with_name(f"{path.name}.txt")):
        if candidate.is_file():
            data = candidate.read_bytes()[:CAPTION_BYTES]
            try:
                return " ".join(data.decode("utf-8-sig").split()) or None
            except UnicodeDecodeError:
                notes.append(f"{printable_name(candidate.name)}: no UTF-8 text; its caption is not used.")
    return None


def _metadata_captions(folder: Path, notes: list[str]) -> dict[str, str]:
    """Captions by file name out of the folder's metadata.jsonl."""
    path = folder / METADATA
    if not path.is_file():
        return {}
    captions: dict[str, str] = {}
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1):
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
