"""A selection becomes a folder: pictures in buckets with captions beside them, the table of all paintings, and where it all came from."""

import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import polars as pl
from PIL import Image, ImageOps

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.names import Trigger
from flenwheel_core.datasets.captions import content_caption
from flenwheel_core.datasets.choices import PaintingChoices
from flenwheel_core.datasets.paintings import PaintingSource, SourceFacts, plain_label
from flenwheel_core.datasets.select import Part, Selection, Sorted
from flenwheel_core.images.buckets import Placement, bucket_sides, fit, place
from flenwheel_core.images.decode import decode

TABLE, FACTS = "paintings.parquet", "dataset.json"
_STEP = 16
"""Sides of pictures are multiples of this."""
SCHEMA = pl.Schema(
    {
        "key": pl.String,
        "artist": pl.String,
        "genre": pl.String,
        "style": pl.String,
        "caption": pl.String,
        "filter": pl.String,
        "reason": pl.String,
        "part": pl.String,
        "file": pl.String,
        "width": pl.Int64,
        "height": pl.Int64,
        "saturation": pl.Float64,
    }
)
"""Of `paintings.parquet`: a row a painting of the source, those that were left out too."""


class DatasetFacts(Document):
    """What a prepared folder says of itself."""

    source: SourceFacts
    choices: PaintingChoices
    trigger: str
    read: int
    parts: dict[Part, int]


def prepare(
    source: PaintingSource,
    selection: Selection,
    choices: PaintingChoices,
    folder: Path,
    *,
    trigger: Trigger,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> DatasetFacts:
    """Writes the folder. `train/` is what `flenwheel ingest` takes; the held-out parts are for measuring and stay as they are.

    Raises InputError if the folder holds something else. What an earlier preparation wrote is replaced.
    """
    _clear(folder)
    chosen = {painting.key: painting for painting in selection.chosen}
    sides = bucket_sides(choices.resolution, choices.bucket_step, aspect=True)
    counts: dict[Part, int] = dict.fromkeys(("train", "held_out_painting", "held_out_artist"), 0)
    for done, (key, data) in enumerate(source.pictures(list(chosen)), 1):
        painting = chosen[key]
        assert painting.part is not None
        place_ = folder / painting.part
        place_.mkdir(parents=True, exist_ok=True)
        picture = in_bucket(decode(data, key).image, sides)
        caption = f"{content_caption(painting.caption, painting.genre, _names(painting))}, {trigger} style"
        for name, image in _copies(picture, painting, choices):
            _write(place_ / f"{counts[painting.part]:05d}{name}.png", image, caption)
        counts[painting.part] += 1
        progress(done, len(chosen))
    table(selection).write_parquet(folder / TABLE)
    facts = DatasetFacts(
        source=source.facts, choices=choices, trigger=trigger, read=len(selection.paintings), parts=counts
    )
    (folder / FACTS).write_text(facts.model_dump_json(indent=1) + "\n")
    return facts


def table(selection: Selection) -> pl.DataFrame:
    """The selection as a table with `SCHEMA`."""
    return pl.DataFrame([asdict(painting) for painting in selection.paintings], schema=SCHEMA)


def read_prepared(folder: Path) -> tuple[DatasetFacts, pl.DataFrame]:
    """Facts and table of a prepared folder; raises InputError if it is none."""
    try:
        facts = DatasetFacts.model_validate_json((folder / FACTS).read_text())
        return facts, pl.read_parquet(folder / TABLE)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"{folder} is no prepared set of paintings.",
            why=f"{FACTS} or {TABLE} is missing or damaged.",
            remedy="Make one: flenwheel dataset prepare SOURCE --to FOLDER.",
        ) from error


def is_prepared(folder: Path) -> bool:
    """True for a folder that a preparation wrote to its end."""
    try:
        DatasetFacts.model_validate_json((folder / FACTS).read_text())
    except (OSError, ValueError):
        return False
    return True


def in_bucket(image: Image.Image, sides: list[tuple[int, int]]) -> Image.Image:
    """The picture scaled down and cut to its bucket. One that its bucket would enlarge keeps its size, but for a rest of 16."""
    where = place(image.size, sides)
    if where.scaled[0] > image.width or where.scaled[1] > image.height:
        where = Placement(image.width // _STEP * _STEP, image.height // _STEP * _STEP, image.size)
    return fit(image, where)


def _copies(picture: Image.Image, painting: Sorted, choices: PaintingChoices) -> Iterator[tuple[str, Image.Image]]:
    """The picture, and where it is trained on its mirrored copy and cuts. Colour, blur and turns are never touched: they are the style."""
    yield "", picture
    if painting.part != "train":
        return
    chance = random.Random(f"{choices.seed}:{painting.key}")  # noqa: S311
    if choices.flips:
        yield "-flipped", ImageOps.mirror(picture)
    for number in range(choices.crops):
        share = chance.uniform(choices.crop_share, 1) ** 0.5
        width, height = (round(side * share) // _STEP * _STEP for side in picture.size)
        left, top = chance.randint(0, picture.width - width), chance.randint(0, picture.height - height)
        yield f"-cut{number}", picture.crop((left, top, left + width, top + height))


def _names(painting: Sorted) -> set[str]:
    """Artist and style as people write them, and the artist's last name."""
    artist, style = painting.artist.replace("-", " "), painting.style.replace("-", " ")
    return {artist, artist.rpartition(" ")[2], style, plain_label(style)} - {""}


def _write(path: Path, image: Image.Image, caption: str) -> None:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    path.write_bytes(buffer.getvalue())
    path.with_suffix(".txt").write_text(caption + "\n")


def require_free(folder: Path) -> None:
    """Raises InputError if a folder holds anything but what an earlier preparation wrote."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / FACTS).is_file())):
        raise InputError(
            f"{folder} holds something else.", remedy="Give a new folder, or one that was prepared before."
        )


def _clear(folder: Path) -> None:
    require_free(folder)
    for part in ("train", "held_out_painting", "held_out_artist"):
        shutil.rmtree(folder / part, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    # Written first: what breaks off half-way is known as a set of paintings, and replaced.
    (folder / FACTS).write_text(json.dumps({"unfinished": True}))
