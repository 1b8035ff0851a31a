"""Paintings of the nano world in the schema of `huggan/wikiart`: what the tests, the demo and the benchmarks take for WikiArt."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
from PIL import Image

from flenwheel_core.nano.world.brush import make_painter, paint
from flenwheel_core.nano.world.captions import caption
from flenwheel_core.nano.world.characters import HELD_OUT_FROM, Character, make_character
from flenwheel_core.nano.world.render import render
from flenwheel_core.nano.world.views import View, make_view

GENRES = ("landscape", "portrait", "genre_painting", "Unknown Genre")
STYLES = ("Impressionism", "Realism")
_COLUMNS: dict[str, pl.DataType] = {
    "image": pl.Struct({"bytes": pl.Binary, "path": pl.String}),
    "artist": pl.Int64(),
    "genre": pl.Int64(),
    "style": pl.Int64(),
}
SCHEMA = pl.Schema(_COLUMNS)
Row = dict[str, object]


def painter_name(number: int) -> str:
    """The artist's label, such as `painter-three`."""
    words = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    return f"painter-{words[number]}"


def scene(seed: int) -> tuple[Character, View]:
    """Who and what a picture of this seed shows; never a drawn style."""
    return make_character(HELD_OUT_FROM + 200_000 + seed), replace(make_view(seed), style="photo")


def painting(painter: int, seed: int, side: int = 128) -> Image.Image:
    """A scene as a painter paints it."""
    return paint(render(*scene(seed), size=side), make_painter(HELD_OUT_FROM + painter), seed)


def content(seed: int) -> str:
    """What the painting of a seed shows, in the words that the nano base reads."""
    return caption(*scene(seed))


def painted_rows(
    painters: Sequence[int], each: int, *, side: int = 128, first: int = 0, style: int = 0
) -> Iterator[Row]:
    """Rows of the schema: `each` paintings of every painter, artists numbered from 1 on."""
    for number, painter in enumerate(painters):
        for index in range(each):
            seed = first + number * each + index
            yield row(
                painting(painter, seed, side), artist=number + 1, genre=index % 3, style=style, name=f"{seed}.jpg"
            )


def row(image: Image.Image, *, artist: int, genre: int, style: int, name: str) -> Row:
    """A row with the picture as a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=92)
    return {"image": {"bytes": buffer.getvalue(), "path": name}, "artist": artist, "genre": genre, "style": style}


def write_parquet(path: Path, rows: Sequence[Row], *, artists: int, row_group: int = 100) -> None:
    """A file as the library `datasets` writes it, with the labels' names in its metadata. Artist 0 is `Unknown Artist`."""
    names = {
        "artist": ["Unknown Artist", *(painter_name(number) for number in range(artists))],
        "genre": list(GENRES),
        "style": list(STYLES),
    }
    features: dict[str, object] = {"image": {"_type": "Image"}}
    features |= {column: {"names": labels, "_type": "ClassLabel"} for column, labels in names.items()}
    written = {"huggingface": json.dumps({"info": {"features": features}})}
    pl.DataFrame(rows, schema=SCHEMA).write_parquet(path, row_group_size=row_group, metadata=written)
