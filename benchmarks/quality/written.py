"""How much writing in photographs screening finds, and how often it sees some where there is none.

Overlays: writing of five kinds laid over photographs without any. The limit and the ways to look again were chosen on the same photographs
and on watermarks and signatures that were drawn otherwise; subtitles, stamps and garbled letters were no part of it. Real: photographs
that show letters as they are, many cut off or out of focus; which ones do was sorted by eye. Clean: those in which the eye found none.
The finder alone, without the sources that may excuse it.

    python -m benchmarks.quality.written --photographs FOLDER --pictures FOLDER    # see benchmarks/kit; ten minutes of one core
"""

import argparse
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.kit.people_pictures import PeoplePictures
from benchmarks.kit.photographs import TOGETHER, Photographs
from benchmarks.kit.spoiled_faces import halves
from benchmarks.kit.written_pictures import MAY_SHOW_WRITING, SHOW_WRITING, WRITTEN, as_given
from benchmarks.result_file import Row, write_result
from flenwheel_core.base.ids import derive_seed
from flenwheel_core.base.statistics import wilson
from flenwheel_core.identity.writing import WritingFinder
from flenwheel_core.recipes.screening import BELIEVED_WRITING

EACH = 4
"""Overlays of a kind on each photograph."""
CLEAN_EACH = 3
LETTERS_SEEN = {f"stock-emotions-a-{number}" for number in range(3, 9)} | {
    "stock-models-1", "stock-teen-5", "person-nicole", "2008_002506",
}  # fmt: skip
"""Of the pictures of benchmarks.kit.people_pictures those with letters that a person sees at a glance."""
LETTERS_PERHAPS = {"stock-group-1", "person-vlado5", "solvay1927", "bald_guys", "2008_004176"}
"""Those too busy to be sure: left out."""
SPEED_PICTURES = 20


def beliefs(finder: WritingFinder, images: Iterable[Image.Image]) -> list[float]:
    return [finder.find(image).belief for image in images]


def row(case: str, found: list[float]) -> Row:
    """How many are asked about, with the 95 % interval."""
    rate = wilson(sum(belief > BELIEVED_WRITING for belief in found), len(found))
    return {
        "case": case,
        "pictures": len(found),
        "caught_share": rate.value,
        "caught_low": rate.low,
        "caught_high": rate.high,
    }


def random_of(name: str, what: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(zlib.crc32(name.encode()), what))


def given(images: Iterable[tuple[str, Image.Image]], each: int) -> Iterator[Image.Image]:
    """Each picture as pictures come, several times."""
    for name, image in images:
        random = random_of(name, "clean")
        yield from (as_given(image, random) for _ in range(each))


def rows(finder: WritingFinder, photographs: Photographs, pictures: PeoplePictures, people: int) -> Iterator[Row]:
    """All rows. `people` is the half of the public people, as in the benchmark of spoiled faces."""
    files = [file for name in halves(photographs)[people] for file in photographs.people[name]]
    clean = [file for file in files if file not in SHOW_WRITING | MAY_SHOW_WRITING]
    for kind, written in WRITTEN.items():
        randoms = {file: random_of(file, kind) for file in clean}
        made = (
            as_given(written(photographs.open(file), randoms[file]), randoms[file])
            for file in clean
            for _ in range(EACH)
        )
        yield row(f"overlay_{kind}", beliefs(finder, made))
    yield row(
        "clean_photographs", beliefs(finder, given(((file, photographs.open(file)) for file in clean), CLEAN_EACH))
    )
    shown = [*(file for file in files if file in SHOW_WRITING), *(file for file in TOGETHER if "kit_with" in file)]
    real = beliefs(finder, (photographs.open(file) for file in shown))
    others = [*pictures.crowds(), *pictures.stock()]
    real += beliefs(finder, (image for name, image in others if name in LETTERS_SEEN))
    yield row("real_writing", real)
    unwritten = [(name, image) for name, image in others if name not in LETTERS_SEEN | LETTERS_PERHAPS]
    yield row("clean_people", beliefs(finder, given(unwritten, CLEAN_EACH)))
    yield row("clean_portraits", beliefs(finder, (image for _, image in pictures.portraits_of_actors())))


def speed(finder: WritingFinder, photographs: Photographs) -> Row:
    """Seconds of one core a photograph of 1024 px."""
    images = [photographs.open(file) for names in photographs.people.values() for file in names][:SPEED_PICTURES]
    for image in images:
        image.thumbnail((1024, 1024))
    began = time.process_time()
    beliefs(finder, images)
    return {
        "case": "speed",
        "pictures": len(images),
        "core_seconds_per_picture": (time.process_time() - began) / len(images),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--photographs", type=Path, required=True, help="folder of the public photographs")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of the public pictures of people")
    parser.add_argument("--people", type=int, choices=(0, 1), default=1, help="which half of the public people")
    parser.add_argument("--out", type=Path, help="folder of the result file; the repository's own if unset")
    asked = parser.parse_args()
    photographs, pictures, finder = Photographs(asked.photographs), PeoplePictures(asked.pictures), WritingFinder(1)
    found: list[Row] = []
    for one in rows(finder, photographs, pictures, asked.people):
        print(one, flush=True)
        found.append(one)
    found.append(speed(finder, photographs))
    write_result("written", found, **({"folder": asked.out} if asked.out else {}))


if __name__ == "__main__":
    main()
