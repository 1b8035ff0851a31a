"""Paintings in a folder: one subfolder an artist, or a table beside them that says more."""

import csv
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.plain_text import decode_text
from flenwheel_core.datasets.paintings import UNKNOWN, Painting, SourceFacts, plain_label
from flenwheel_core.images.entries import read_entry
from flenwheel_core.images.folder import FoundFile, find_sources

_TABLES = ("metadata.jsonl", "metadata.csv")
_TEXT_BYTES = 256 * 2**20


class FolderPaintings:
    """Paintings of a folder and its subfolders, such as museums' open collections.

    A row of `metadata.jsonl` or `metadata.csv` (file_name, artist, genre, style, title) says what a painting is; without one its
    subfolder names the artist.
    """

    def __init__(self, folder: Path) -> None:
        self.facts = SourceFacts(name=folder.name, revision=None, licence="not stated")
        self._files = {file.name: file for file in find_sources(folder).files}
        self._rows = _table(folder)
        if not self._files:
            raise InputError(f"{folder} holds no pictures.", remedy="Give a folder of paintings, or of Parquet files.")

    def paintings(self) -> Iterator[Painting]:
        for name, file in self._files.items():
            yield self._painting(name, file)

    def pictures(self, keys: Collection[str]) -> Iterator[tuple[str, bytes]]:
        wanted = set(keys)
        for name, file in self._files.items():
            if name in wanted:
                yield name, read_entry(file.path)

    def _painting(self, name: str, file: FoundFile) -> Painting:
        row = self._rows.get(name, {})
        parent = PurePosixPath(name).parent.name
        return Painting(
            key=name,
            artist=plain_label(row.get("artist") or parent),
            genre=plain_label(row.get("genre") or UNKNOWN),
            style=plain_label(row.get("style") or UNKNOWN),
            caption=file.caption or row.get("title") or None,
        )


def _table(folder: Path) -> Mapping[str, Mapping[str, str]]:
    """Rows of the folder's table by file name; raises InputError for one that cannot be read."""
    for name in _TABLES:
        path = folder / name
        if not path.is_file():
            continue
        text = decode_text(read_entry(path, _TEXT_BYTES)).text
        try:
            rows = (
                [json.loads(line) for line in text.splitlines() if line.strip()]
                if path.suffix == ".jsonl"
                else list(csv.DictReader(text.splitlines()))
            )
            return {
                str(row["file_name"]): {str(key): str(value) for key, value in dict(row).items() if value}
                for row in rows
            }
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{name} cannot be read.",
                why=f"a row has no file_name, or is no row: {error}.",
                remedy="Write a row a picture, with file_name, artist, genre, style and title.",
            ) from error
    return {}
