"""Parquet manifests: tables of documents with a polars schema, named by the digest of their rows."""

import io
from collections.abc import Mapping, Sequence
from typing import TypeVar

import polars as pl
from polars.exceptions import PolarsError
from pydantic import ValidationError

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import CorruptManifestError, first_line
from flenwheel_core.base.ids import canonical_json, digest_bytes
from flenwheel_core.documents.images import ImageRecord
from flenwheel_core.documents.scores import Screening

Row = TypeVar("Row", bound=Document)

_LABELS = pl.Struct(
    dict.fromkeys(("angle", "expression", "pose", "background", "lighting", "clothing", "style"), pl.String)
)

_BOX = pl.Struct(dict.fromkeys(("left", "top", "right", "bottom"), pl.Float64))


def _schema(columns: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.Schema:
    return pl.Schema(columns)


SCHEMAS: dict[type[Document], pl.Schema] = {
    ImageRecord: _schema(
        {
            "digest": pl.String,
            "width": pl.Int64,
            "height": pl.Int64,
            "kind": pl.String,
            "parents": pl.List(pl.String),
            "prompt": pl.String,
            "caption": pl.String,
            "seed": pl.Int64,
            "sampler": pl.Struct(
                {
                    "steps": pl.Int64,
                    "guidance": pl.Float64,
                    "true_cfg": pl.Float64,
                    "width": pl.Int64,
                    "height": pl.Int64,
                }
            ),
            "model": pl.String,
            "loras": pl.List(pl.Struct({"digest": pl.String, "weight": pl.Float64})),
            "stage": pl.String,
            "request": pl.String,
            "item": pl.String,
            "turn": pl.Int64,
            "template": pl.String,
            "cell": pl.String,
            "labels": _LABELS,
            "mask": pl.String,
            "framing": pl.Struct({"crop": _BOX, "hidden": pl.List(_BOX)}),
        }
    ),
    Screening: _schema(
        {
            "image": pl.String,
            "outcome": pl.String,
            "reasons": pl.List(
                pl.Struct({"code": pl.String, "value": pl.Float64, "limit": pl.Float64, "detail": pl.String})
            ),
            "verifier": pl.String,
            "verifier_version": pl.String,
            "distance": pl.Float64,
            "similarity": pl.Float64,
            "nearest_reference": pl.String,
            "nearest_distance": pl.Float64,
            "sharpness": pl.Float64,
            "brightness": pl.Float64,
            "duplicate_of": pl.String,
            "read": _LABELS,
            "spoiled": pl.Float64,
            "beliefs": pl.Int64,
        }
    ),
}


_LATER: dict[type[Document], tuple[str, ...]] = {ImageRecord: ("mask", "framing"), Screening: ("spoiled", "beliefs")}
"""Columns that tables of earlier versions lack. They are only written where a row has something in them, so that those versions, on
other machines of the same store, read the rest."""


def table_digest(rows: "tuple[Row, ...] | list[Row]") -> str:
    """The digest of the rows, whatever the Parquet writer makes of them."""
    return digest_bytes(canonical_json([row.model_dump(mode="json") for row in rows]))


def to_parquet(rows: "tuple[Row, ...] | list[Row]", kind: type[Row]) -> bytes:
    """The rows as a Parquet file with the schema of `kind`."""
    buffer = io.BytesIO()
    frame = frame_of_rows(rows, kind)
    empty = [name for name in _LATER.get(kind, ()) if frame[name].null_count() == len(frame)]
    frame.drop(empty).write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def from_parquet(data: bytes, kind: type[Row], *, where: str) -> tuple[Row, ...]:
    """The rows of a Parquet file; raises CorruptManifestError naming `where`."""
    return rows_of(frame_of(data, kind, where=where), kind, where=where)


def frame_of(data: bytes, kind: type[Row], *, where: str) -> pl.DataFrame:
    """A Parquet file as a table to query; raises CorruptManifestError naming `where`."""
    try:
        frame = pl.read_parquet(io.BytesIO(data))
        lacking = [name for name in _LATER.get(kind, ()) if name not in frame.columns]
        frame = frame.with_columns(pl.lit(None, SCHEMAS[kind][name]).alias(name) for name in lacking)
        if lacking and set(frame.columns) == set(SCHEMAS[kind]):
            frame = frame.select(SCHEMAS[kind].names())
        if frame.schema != SCHEMAS[kind]:
            raise ValueError(f"its columns are {', '.join(frame.columns)}")
        return frame
    except (PolarsError, ValueError, OSError) as error:
        raise _unreadable(where, error) from error


def frame_of_rows(rows: Sequence[Row], kind: type[Row]) -> pl.DataFrame:
    """Documents as a table to query."""
    return pl.DataFrame([row.model_dump(mode="json") for row in rows], schema=SCHEMAS[kind], strict=True)


def rows_of(frame: pl.DataFrame, kind: type[Row], *, where: str) -> tuple[Row, ...]:
    """The documents in the rows of a table; raises CorruptManifestError naming `where`."""
    try:
        return tuple(kind.model_validate(row) for row in frame.iter_rows(named=True))
    except ValidationError as error:
        raise _unreadable(where, error) from error


def _unreadable(where: str, error: Exception) -> CorruptManifestError:
    return CorruptManifestError(
        f"{where} cannot be read.",
        why=first_line(error),
        remedy="Remove it and run the stage again: what it lists is still there and is not made twice.",
    )
