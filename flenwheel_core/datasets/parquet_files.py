"""Paintings in Parquet files with the columns of `huggan/wikiart`: an image, and labels that are numbers with names or text."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from flenwheel_core.base.errors import InputError, first_line
from flenwheel_core.datasets.paintings import UNKNOWN, Painting, SourceFacts, plain_label

LABELS = ("artist", "genre", "style")
_CAPTIONS = ("caption", "title", "description")
_BATCH_ROWS = 100
"""Pictures read at once. A file's row groups bound it from below: a reader holds a few of them."""


class ParquetPaintings:
    """Paintings of several Parquet files. A file is asked for when it is read, so that one on the Hub is fetched then."""

    def __init__(self, names: Sequence[str], open_file: Callable[[str], Path], facts: SourceFacts) -> None:
        self.facts = facts
        self._names = tuple(names)
        self._open = open_file

    def paintings(self) -> Iterator[Painting]:
        for name in self._names:
            path = self._open(name)
            names = label_names(path)
            schema = _schema(path)
            text = next((column for column in _CAPTIONS if schema.get(column) == pl.String), None)
            wanted = [*(label for label in LABELS if label in schema), *([text] if text else [])]
            scan = pl.scan_parquet(path).select(wanted).with_row_index("row")
            for batch in scan.collect_batches(chunk_size=10_000, maintain_order=True, lazy=True):
                for row in batch.iter_rows(named=True):
                    artist, genre, style = (_label(row.get(label), names.get(label)) for label in LABELS)
                    yield Painting(f"{name}:{row['row']}", artist, genre, style, row[text] if text else None)

    def pictures(self, keys: Collection[str]) -> Iterator[tuple[str, bytes]]:
        rows: dict[str, list[int]] = {}
        for key in keys:
            name, _, row = key.rpartition(":")
            rows.setdefault(name, []).append(int(row))
        for name in self._names:
            wanted = sorted(rows.get(name, ()))
            if not wanted:
                continue
            scan = pl.scan_parquet(self._open(name)).select("image").with_row_index("row")
            scan = scan.filter(pl.col("row").is_in(wanted))
            scan = scan.select("row", pl.col("image").struct.field("bytes"))
            for batch in scan.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True, lazy=True):
                for row, data in batch.iter_rows():
                    yield f"{name}:{row}", data or b""


def label_names(path: Path) -> Mapping[str, Sequence[str]]:
    """The names of numbered labels, by column, as the library `datasets` writes them into the file's own metadata."""
    try:
        written = json.loads(pl.read_parquet_metadata(path).get("huggingface", "{}"))
        features = written.get("info", {}).get("features", {})
        return {column: tuple(map(str, what["names"])) for column, what in features.items() if "names" in what}
    except (PolarsError, OSError, ValueError, AttributeError, TypeError) as error:
        raise _unreadable(path, first_line(error)) from error


def require_paintings(path: Path) -> None:
    """Raises InputError if a file has not the columns it needs, or numbered labels without names."""
    schema = _schema(path)
    image = schema.get("image")
    if not isinstance(image, pl.Struct) or "bytes" not in {field.name for field in image.fields}:
        raise _unreadable(path, f"it has no column `image` with `bytes`; its columns are {', '.join(schema)}.")
    names = label_names(path)
    nameless = [label for label in LABELS if label in schema and schema[label].is_integer() and label not in names]
    if nameless:
        raise _unreadable(path, f"{', '.join(nameless)} are numbers, and nothing in the file names them.")


def _schema(path: Path) -> pl.Schema:
    try:
        return pl.read_parquet_schema(path)  # type: ignore[return-value]
    except (PolarsError, OSError) as error:
        raise _unreadable(path, first_line(error)) from error


def _label(value: object, names: Sequence[str] | None) -> str:
    if isinstance(value, int) and names is not None:
        return plain_label(names[value]) if 0 <= value < len(names) else UNKNOWN
    return plain_label(value) if isinstance(value, str) else UNKNOWN


def _unreadable(path: Path, why: str) -> InputError:
    return InputError(
        f"{path.name} is no Parquet file of paintings.",
        why=why,
        remedy="Give files with the columns image, artist, genre and style, as huggan/wikiart has them.",
    )
