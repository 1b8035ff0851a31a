"""A small WikiArt of nano paintings with one of everything that a filter must find."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from flenwheel_core.datasets.choices import PaintingChoices
from flenwheel_core.nano.paintings import Row, painted_rows, painting, row, write_parquet

PAINTERS = (11, 12, 13, 14)
EACH = 6
CHOICES = PaintingChoices(
    style="Impressionism",
    died={f"painter-{word}": 1900 for word in ("one", "two", "three")} | {"painter-four": 1990},
    minimum_side_px=96,
    resolution=128,
    bucket_step=16,
    genre_share=1.0,
    held_out_paintings=0.2,
)


def odd_rows() -> dict[str, Row]:
    """A row each for what is to be left out, by the filter's name."""
    good = painting(11, 900)
    grey = ImageOps.grayscale(painting(11, 901)).convert("RGB")
    framed = ImageOps.expand(painting(12, 902), border=10, fill=(60, 40, 20))
    scan = painting(11, 0).resize((160, 160), Image.Resampling.BICUBIC)
    wide = Image.new("RGB", (400, 128))
    for index in range(4):
        wide.paste(painting(13, 903 + index), (index * 100, 0))
    damaged = row(good, artist=1, genre=0, style=0, name="damaged.jpg")
    damaged["image"] = {"bytes": b"no picture", "path": "damaged.jpg"}
    return {
        "style": row(good, artist=1, genre=0, style=1, name="realism.jpg"),
        "rights": row(painting(11, 910), artist=0, genre=0, style=0, name="nobody.jpg"),
        "damaged": damaged,
        "size": row(good.resize((64, 64)), artist=2, genre=0, style=0, name="small.jpg"),
        "aspect": row(wide, artist=3, genre=0, style=0, name="wide.jpg"),
        "monochrome": row(grey, artist=1, genre=0, style=0, name="grey.jpg"),
        "frame": row(framed, artist=2, genre=0, style=0, name="framed.jpg"),
        "duplicate": row(scan, artist=1, genre=1, style=0, name="scan.jpg"),
    }


def write_wikiart(folder: Path) -> dict[str, str]:
    """Two Parquet files; returns the keys of the odd rows by the filter that must find them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(painted_rows(PAINTERS, EACH))
    odd = odd_rows()
    write_parquet(folder / "train-00000-of-00002.parquet", rows, artists=len(PAINTERS), row_group=5)
    write_parquet(folder / "train-00001-of-00002.parquet", list(odd.values()), artists=len(PAINTERS), row_group=3)
    return {name: f"train-00001-of-00002.parquet:{index}" for index, name in enumerate(odd)}


def jpeg(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=95)
    return buffer.getvalue()
