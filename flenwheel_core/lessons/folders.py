"""Triplets as folders that other trainers read: `control/NAME.png`, `target/NAME.png` with `NAME.txt` beside it, and `metadata.jsonl`.

Further references of an edit lie in `reference_1/NAME.png`, `reference_2/NAME.png` and so on.

`metadata.jsonl` has Hugging Face's `file_name` columns, so that `load_dataset("imagefolder", ...)` reads the folder too.
"""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import ValidationError

from flenwheel_core.base.errors import InputError, MissingWeightsError
from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.base.plain_text import cut_to_bytes, decode_text, lines_of, one_line, writable
from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels
from flenwheel_core.documents.triplets import Triplet, TripletSet
from flenwheel_core.images.decode import Limits, decode
from flenwheel_core.images.entries import PICTURE_SUFFIXES, Entry, list_entries, read_entry
from flenwheel_core.images.folder_notes import FolderNotes
from flenwheel_core.images.names import printable_path, same_letters
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import carries_facts, save_picture

METADATA = "metadata.jsonl"
TABLE = "metadata.csv"
CONTROLS = ("control", "source", "input", "before")
TARGETS = ("target", "output", "edited", "after")
IMPORT_GATE = "import"
SOURCE_KEYS = ("control_file_name", "control_path", "control", "source", "input_image", "source_image")
TARGET_KEYS = ("file_name", "image_path", "target", "edited_image", "target_image", "output_image")
PROMPT_KEYS = ("prompt", "edit_prompt", "instruction", "caption", "text")
REFERENCES_KEY = "reference_file_names"
PROMPT_SUFFIXES = (".txt", ".caption")
_LIMITS = Limits(maximum_megapixels=64, maximum_bytes=64 * 2**20)
_PROMPT_BYTES = 20_000
_SEPARATORS = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"})
"""Readers of JSON lines that cut at every separator Unicode knows would cut inside a prompt."""


def export_triplets(store: Store, triplets: TripletSet, folder: Path) -> int:
    """Writes the folder and returns how many triplets it holds. Raises InputError if it holds something already."""
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty.", remedy="Give a new folder: a mixture of two sets would be neither.")
    rows = []
    for part in ("control", "target"):
        (folder / part).mkdir(parents=True)
    for number, triplet in enumerate(triplets.triplets):
        name = f"{number:05d}-{triplet.character}"
        (folder / "control" / f"{name}.png").write_bytes(store.get_blob(triplet.source))
        (folder / "target" / f"{name}.png").write_bytes(store.get_blob(triplet.target))
        (folder / "target" / f"{name}.txt").write_text(triplet.prompt + "\n", encoding="utf-8", newline="\n")
        row: dict[str, object] = {
            "file_name": f"target/{name}.png",
            "control_file_name": f"control/{name}.png",
            "prompt": triplet.prompt,
            "kind": triplet.kind,
            "character": triplet.character,
            "turn": triplet.turn,
            "labels": triplet.labels.model_dump(mode="json", exclude_none=True),
        }
        if triplet.references:
            row[REFERENCES_KEY] = _write_references(store, triplet, folder, name)
        rows.append(row)
    lines = "".join(_line(row) + "\n" for row in rows)
    (folder / METADATA).write_text(lines, encoding="utf-8", newline="\n")
    return len(rows)


def _write_references(store: Store, triplet: Triplet, folder: Path, name: str) -> list[str]:
    """Writes them and returns their names in the folder."""
    names = [f"reference_{number}/{name}.png" for number in range(1, len(triplet.references) + 1)]
    for place, digest in zip(names, triplet.references, strict=True):
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_bytes(store.get_blob(digest))
    return names


def _line(row: Mapping[str, object]) -> str:
    return json.dumps(row, ensure_ascii=False).translate(_SEPARATORS)


@dataclass(frozen=True)
class Imported:
    """The triplets of a folder, and one line about everything in it that was left out."""

    triplets: tuple[Triplet, ...]
    notes: tuple[str, ...]


def import_triplets(store: Store, folder: Path, *, character: str, author: str) -> Imported:
    """The triplets of a folder in either layout; their pictures are kept in the store.

    Every picture is decoded as untrusted input. Raises InputError if the folder holds no pairs.
    """
    notes = FolderNotes()
    entries = list_entries(folder)
    for line in entries.notes:
        notes.say(line)
    files = {entry.name: entry for entry in entries.files}
    rows = _from_metadata(files[METADATA], notes) if METADATA in files else []
    rows = rows or (_from_table(files[TABLE], notes) if TABLE in files else [])
    rows = rows or _from_folders(entries.files, notes)
    triplets = []
    for row in rows:
        if not row.prompt:
            notes.about(row.target, "left out. It has no prompt.")
            continue
        try:
            source, target, *references = (
                _keep(store, files, name) for name in (row.control, row.target, *row.references)
            )
        except (InputError, MissingWeightsError) as error:
            notes.about(row.target, f"left out. {error.what}")
            continue
        triplets.append(
            Triplet(
                source=source,
                prompt=row.prompt,
                target=target,
                kind=row.kind,
                character=character,
                turn=0,
                gate=IMPORT_GATE,
                author=author,
                labels=row.labels,
                references=tuple(references),
            )
        )
    if not triplets:
        raise InputError(
            f"{folder} holds no triplets.",
            why="; ".join(notes.lines()[:3])
            or "there is neither metadata.jsonl nor control/ and target/ with equal names.",
            remedy="Put pictures into control/ and target/ under the same names, and NAME.txt with the prompt into target/.",
        )
    return Imported(tuple(triplets), notes.lines())


@dataclass(frozen=True)
class _Row:
    control: str
    target: str
    prompt: str
    kind: Literal["approved", "corrected"] = "corrected"
    labels: Labels = field(default_factory=Labels)
    references: tuple[str, ...] = ()


def _from_metadata(entry: Entry, notes: FolderNotes) -> list[_Row]:
    """The rows of metadata.jsonl. A prompt in it stays letter by letter, so that an exported set comes back as it was."""
    text = _text_of(entry, notes)
    rows = []
    for number, line in enumerate(lines_of(text or ""), start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            content = None
        row = _row_of(content) if isinstance(content, dict) else None
        if row is None:
            notes.say(
                f"Line {number} of {METADATA} describes no triplet: it needs file_name, control_file_name, prompt."
            )
        else:
            rows.append(row)
    return rows


def _from_table(entry: Entry, notes: FolderNotes) -> list[_Row]:
    """The rows of metadata.csv, with the columns of metadata.jsonl."""
    text = _text_of(entry, notes) or ""
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    try:
        lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        found = [
            (lines.line_num, _row_of({(key or "").strip(): value for key, value in line.items()})) for line in lines
        ]
    except csv.Error as error:
        notes.say(f"{TABLE}: no table that can be read ({error}); not used.")
        return []
    for number, row in found:
        if row is None:
            notes.say(f"Line {number} of {TABLE} describes no triplet: it needs file_name, control_file_name, prompt.")
    return [row for _, row in found if row is not None]


def _row_of(content: Mapping[str, object]) -> _Row | None:
    source, target, prompt = (_first(content, keys) for keys in (SOURCE_KEYS, TARGET_KEYS, PROMPT_KEYS))
    if source is None or target is None or prompt is None:
        return None
    try:
        labels = Labels.model_validate(content.get("labels") or {})
    except ValidationError:
        return None
    kind: Literal["approved", "corrected"] = "approved" if content.get("kind") == "approved" else "corrected"
    further = content.get(REFERENCES_KEY) or []
    if not isinstance(further, list) or not all(isinstance(name, str) for name in further):
        return None
    control, answer, *references = (name.replace("\\", "/").removeprefix("./") for name in (source, target, *further))
    words = writable(prompt).removeprefix("\ufeff").strip()
    return _Row(control, answer, words, kind, labels, tuple(references))


def _first(content: Mapping[str, object], keys: Sequence[str]) -> str | None:
    return next((value for key in keys if isinstance(value := content.get(key), str)), None)


def _from_folders(entries: Sequence[Entry], notes: FolderNotes) -> list[_Row]:
    """The pairs of folders such as control/ and target/, with the text beside the target, or else beside its source, as prompt."""
    rows = []
    for controls, targets in _pairs_of_folders(entries):
        sources = {_stem(entry): entry for entry in controls if _suffix(entry) in PICTURE_SUFFIXES}
        texts = {(_stem(entry), _suffix(entry)): entry for part in (controls, targets) for entry in part}
        for entry in targets:
            if _suffix(entry) not in PICTURE_SUFFIXES:
                continue
            source = sources.get(_stem(entry))
            if source is None:
                notes.about(entry.name, "left out. No control picture has its name.")
                continue
            beside = (texts.get((_stem(entry), suffix)) for suffix in PROMPT_SUFFIXES)
            found = next((text for text in beside if text is not None), None)
            prompt = one_line(_text_of(found, notes) or "") if found is not None else ""
            cut = cut_to_bytes(prompt, _PROMPT_BYTES)
            if cut != prompt:
                notes.about(entry.name, f"its prompt is too long; the first {_PROMPT_BYTES} bytes are used.")
            rows.append(_Row(source.name, entry.name, cut))
        for stem in sorted(sources.keys() - {_stem(entry) for entry in targets}):
            notes.about(sources[stem].name, "left out. No target picture has its name.")
    return rows


def _stem(entry: Entry) -> str:
    return same_letters(PurePosixPath(entry.name).stem)


def _suffix(entry: Entry) -> str:
    return PurePosixPath(entry.name).suffix.lower()


def _pairs_of_folders(entries: Sequence[Entry]) -> list[tuple[list[Entry], list[Entry]]]:
    """The files of sources and of targets, wherever both folders lie side by side."""
    inside: dict[PurePosixPath, list[Entry]] = {}
    for entry in entries:
        inside.setdefault(PurePosixPath(entry.name).parent, []).append(entry)
    pairs = []
    for place in sorted({folder.parent for folder in inside if folder.name}):
        beside = [folder for folder in inside if folder.name and folder.parent == place]
        control, target = (_folder_called(beside, words) for words in (CONTROLS, TARGETS))
        if control is not None and target is not None:
            pairs.append((inside[control], inside[target]))
    return pairs


def _folder_called(folders: Sequence[PurePosixPath], words: Sequence[str]) -> PurePosixPath | None:
    """The first of the folders whose name is one of the words, also as `control_1` or `Control images`."""
    for word in words:
        pattern = re.compile(rf"{word}s?(?:[ _-]?(?:images?|1))?")
        found = sorted(folder for folder in folders if pattern.fullmatch(folder.name.lower()))
        if found:
            return found[0]
    return None


def _text_of(entry: Entry, notes: FolderNotes) -> str | None:
    """The words of a text file; a line says why there are none, or what their encoding was taken for."""
    try:
        text = decode_text(read_entry(entry.path, _LIMITS.maximum_bytes))
    except InputError as error:
        notes.about(entry.name, f"not used. {error.what} {error.why}".rstrip())
        return None
    except ValueError as error:
        notes.about(entry.name, f"not used, {error}.")
        return None
    if text.note:
        notes.about(entry.name, text.note)
    return text.text


def _keep(store: Store, files: Mapping[str, Entry], name: str) -> str:
    """Decodes and keeps one picture of the folder; raises InputError for one that is not in it or damaged.

    A picture that this store exported is the one that it has.
    """
    entry = files.get(name)
    if entry is None:
        raise InputError(f"There is no picture {printable_path(name)} in the folder.")
    data = read_entry(entry.path, _LIMITS.maximum_bytes)
    image = decode(data, entry.path.name, _LIMITS).image
    digest = digest_bytes(data)
    if store.has_blob(digest) and carries_facts(data):
        return digest
    record = ImageRecord(
        digest="0" * 64,
        width=1,
        height=1,
        kind=ImageKind.SOURCE,
        stage="import",
        request=digest,
        item=entry.path.name,
    )
    return save_picture(store, image, record).digest
