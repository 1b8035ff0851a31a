"""Files that hold the captions of many pictures: Hugging Face's metadata, kohya's meta.json, tables of a spreadsheet.

Which picture a row means is told from its name as written, below the table's own folder or below the top one, with or without suffix.
A bare name, or an absolute path of another machine, means the one picture whose path ends most like it.
"""

import csv
import io
import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import PurePosixPath

from flenwheel_core.base.plain_text import lines_of, one_line
from flenwheel_core.images.entries import PICTURE_SUFFIXES
from flenwheel_core.images.folder_notes import FolderNotes
from flenwheel_core.images.names import printable_path, same_letters

TABLE_SUFFIXES = frozenset({".jsonl", ".json", ".csv", ".tsv"})
CAPTION_KEYS = ("text", "caption", "prompt", "additional_feature", "description", "image_caption")
NAME_KEYS = ("file_name", "image_file_name", "image", "image_path", "file", "filename", "path", "name")
_PAIR_KEYS = frozenset({"control_file_name", "control_path"})
TABLE_NAMES = re.compile(r"(?:meta|metadata|captions?|tags|annotations)(?:[_-].*)?", re.IGNORECASE)
"""What tools call a file of captions: Hugging Face's metadata, kohya's meta_cap, meta_clean, meta_lat."""
_SEPARATORS = ",;\t|"
_MOST_LINES_NAMED = 3

Row = Mapping[str, object]


class PictureNames:
    """Finds the picture that a table means."""

    def __init__(self, names: Sequence[str]) -> None:
        self._known: dict[str, list[str]] = {}
        for name in names:
            path = PurePosixPath(same_letters(name))
            for key in {str(path), str(path.with_suffix("")), path.name, path.stem}:
                self._known.setdefault(key, []).append(name)
        self._exact = frozenset(names)

    def find(self, written: str, folder: str) -> str | None:
        """The picture that a table in `folder` calls `written`; None if there is none, or more than one."""
        plain = written.replace("\\", "/")
        for place in (posixpath.normpath(posixpath.join(folder, plain)), posixpath.normpath(plain)):
            if place in self._exact:
                return place
            found = self._known.get(same_letters(place), [])
            if len(found) == 1 and _folder(found[0]) == _folder(place):
                return found[0]
        bare = "/" not in plain
        return (
            self._ends_like(same_letters(plain)) if bare or posixpath.isabs(plain.partition(":")[2] or plain) else None
        )

    def _ends_like(self, path: str) -> str | None:
        """The picture with the same last part and the most equal folders before it, if there is one such."""
        folders = PurePosixPath(path).parts[-2::-1]

        def alike(name: str) -> int:
            pairs = zip(PurePosixPath(same_letters(name)).parts[-2::-1], folders, strict=False)
            return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

        found = sorted(self._known.get(PurePosixPath(path).name, []), key=alike)
        unique = len(found) == 1 or (len(found) > 1 and alike(found[-1]) > alike(found[-2]))
        return found[-1] if unique else None


def _folder(name: str) -> PurePosixPath:
    return PurePosixPath(same_letters(name)).parent


def captions_in_table(
    name: str, text: str, pictures: PictureNames, left_out: PictureNames, notes: FolderNotes
) -> dict[str, str]:
    """The captions of a table by picture, and a line for each row that is not used. A file of another kind holds none."""
    folder = posixpath.dirname(name)
    suffix = PurePosixPath(name.lower()).suffix
    if suffix == ".json":
        rows = list(_json_rows(text))
    elif suffix == ".jsonl":
        rows = list(_jsonl_rows(name, text, notes))
    else:
        rows = _csv_rows(name, text, pictures, folder, notes)
    captions: dict[str, str] = {}
    unnamed: list[int] = []
    missing: list[str] = []
    for number, row in rows:
        written, caption = _first(row, NAME_KEYS), caption_of(row)
        if written is None or caption is None:
            unnamed.append(number)
            continue
        picture = pictures.find(written, folder)
        if picture is not None:
            captions[picture] = caption
        elif left_out.find(written, folder) is None:
            missing.append(written)
    if suffix == ".json" and not captions:
        _say_json_without_captions(name, text, missing, notes)
        return captions
    for written in missing:
        notes.about(written, f"named in {printable_path(name)}, but not there.")
    _say_unnamed(name, unnamed, notes)
    if any(_PAIR_KEYS & row.keys() for _, row in rows):
        notes.say(
            f"{printable_path(name)} describes edits, each with its source: `flenwheel editor import-triplets` teaches the editor by them."
        )
    return captions


def _say_json_without_captions(name: str, text: str, missing: Sequence[str], notes: FolderNotes) -> None:
    """JSON is for anything: only what names pictures, or is called as tables of captions are, is worth a line."""
    shown = printable_path(name)
    if any("/" in written or PurePosixPath(written.lower()).suffix in PICTURE_SUFFIXES for written in missing):
        notes.say(f"{shown}: none of the pictures it names is here; not used.")
    elif text.strip() and TABLE_NAMES.fullmatch(PurePosixPath(name).stem):
        why = "no JSON that can be read" if _parsed(text) is None else "it names no picture with a caption"
        notes.say(f"{shown}: {why}; not used.")


def _say_unnamed(name: str, numbers: Sequence[int], notes: FolderNotes) -> None:
    shown = printable_path(name)
    for number in numbers[:_MOST_LINES_NAMED]:
        notes.say(f"{shown} line {number}: needs a file_name and a text; not used.")
    if len(numbers) > _MOST_LINES_NAMED:
        notes.say(f"{shown}: the same holds for {len(numbers) - _MOST_LINES_NAMED} more lines.")


def _jsonl_rows(name: str, text: str, notes: FolderNotes) -> Iterator[tuple[int, Row]]:
    """Rows of an object a line; some write one list, one object over several lines, or a comma after each."""
    whole = _parsed(text)
    if isinstance(whole, list) or (isinstance(whole, dict) and _first(whole, NAME_KEYS) is None):
        yield from _json_rows(text)
        return
    if isinstance(whole, dict):
        yield 1, whole
        return
    broken = 0
    for number, line in enumerate(lines_of(text), start=1):
        if not line.strip():
            continue
        row = _parsed(line.strip().removesuffix(","))
        if isinstance(row, dict):
            yield number, row
            continue
        broken += 1
        if broken <= _MOST_LINES_NAMED:
            notes.say(f"{printable_path(name)} line {number}: no JSON object; not used.")
    if broken > _MOST_LINES_NAMED:
        notes.say(f"{printable_path(name)}: the same holds for {broken - _MOST_LINES_NAMED} more lines.")


def _json_rows(text: str) -> Iterator[tuple[int, Row]]:
    """Rows of a list of objects, or of an object that has an object for each picture."""
    content = _parsed(text)
    if isinstance(content, list):
        yield from ((number, row) for number, row in enumerate(content, start=1) if isinstance(row, dict))
    elif isinstance(content, dict):
        for number, (key, value) in enumerate(content.items(), start=1):
            if isinstance(value, dict):
                yield number, {**value, "file_name": key}
            elif isinstance(value, str):
                yield number, {"file_name": key, "text": value}


def lines_naming_pictures(text: str, pictures: PictureNames, folder: str) -> dict[str, str]:
    """The captions of a text with a line a picture, `01.png|smiling`; empty if any line of it is something else."""
    found: dict[str, str] = {}
    for line in lines_of(text):
        if not line.strip():
            continue
        parts = next((parts for mark in (*_SEPARATORS, ":") if len(parts := line.split(mark, 1)) == 2), ["", ""])
        written, caption = parts[0].strip(), one_line(parts[1])
        picture = pictures.find(written, folder) if PurePosixPath(written.lower()).suffix in PICTURE_SUFFIXES else None
        if picture is None or not caption:
            return {}
        found[picture] = caption
    return found


def _csv_rows(name: str, text: str, pictures: PictureNames, folder: str, notes: FolderNotes) -> list[tuple[int, Row]]:
    head = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=head.count)
    try:
        # Line ends stay as they are: a caption in quotes may have some.
        lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        columns = {(column or "").strip().lower() for column in lines.fieldnames or ()}
        if not columns & set(NAME_KEYS) or not columns & {*CAPTION_KEYS, "tags"}:
            rows = [] if columns & set(NAME_KEYS) else _two_columns(text, separator, pictures, folder)
            if rows:
                return rows
            notes.say(f"{printable_path(name)}: it has no columns file_name and text; not used.")
            return []
        return [(lines.line_num, {str(key).strip().lower(): value for key, value in row.items()}) for row in lines]
    except csv.Error as error:
        notes.say(f"{printable_path(name)}: no table that can be read ({error}); not used.")
        return []


def _two_columns(text: str, separator: str, pictures: PictureNames, folder: str) -> list[tuple[int, Row]]:
    """Rows of a table of two columns, the first of which names pictures, whatever its head says or if it has none."""
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows = [(lines.line_num, cells) for cells in lines if cells]
    if any(len(cells) != 2 for _, cells in rows):
        return []
    if rows and pictures.find(rows[0][1][0], folder) is None:
        rows = rows[1:]
    if not any(pictures.find(cells[0], folder) for _, cells in rows):
        return []
    return [(number, {"file_name": cells[0], "text": cells[1]}) for number, cells in rows]


def caption_of(row: Row) -> str | None:
    """The row's caption; kohya keeps the tags of a picture apart, and reads them after it."""
    caption, tags = _first(row, CAPTION_KEYS), _first(row, ("tags",))
    return ", ".join(part for part in (caption, tags) if part) or None


def _first(row: Row, keys: Sequence[str]) -> str | None:
    for key in keys:
        value = row.get(key)
        if isinstance(value, list):
            value = next((one for one in value if isinstance(one, str)), None)
        if isinstance(value, str) and one_line(value):
            return one_line(value)
    return None


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
