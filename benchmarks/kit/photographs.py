"""Public photographs of people with known truth, for the benchmarks of real people. They are never part of the repository.

Two public repositories hold them. Check them out, or unpack their archives, into one folder:

    FOLDER/deepface           serengil/deepface at 243209fd7b46ecdecf72665cc25219f6e8181f25
    FOLDER/face_recognition   ageitgey/face_recognition at 2e2dccea9dd0ce730c8d464d0f67c6eebb40c9d1

The first has 61 photographs of 13 public people, and which of them show the same person; the second a few more, and photographs of two
of its people together. A digest of all that is used is checked: figures are of exactly these pictures.
"""

import csv
from functools import cached_property
from pathlib import Path

from PIL import Image

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import digest_bytes, digest_json

LONGEST_PX = 1600
DATASET = "deepface/tests/unit/dataset"
PAIRS = f"{DATASET}/face-recognition-pivot.csv"
EXAMPLES = "face_recognition/examples"
KNN = f"{EXAMPLES}/knn_examples"
KNOWN: dict[str, tuple[str, ...]] = {
    "obama": (f"{EXAMPLES}/obama.jpg", f"{EXAMPLES}/obama2.jpg", f"{KNN}/test/obama1.jpg"),
    "biden": (f"{EXAMPLES}/biden.jpg", f"{KNN}/train/biden/biden2.jpg"),
    "kit": (f"{KNN}/train/kit_harington/john1.jpeg", f"{KNN}/train/kit_harington/john2.jpeg"),
    "rose": (f"{KNN}/train/rose_leslie/img1.jpg", f"{KNN}/train/rose_leslie/img2.jpg"),
    "alex": (f"{EXAMPLES}/alex-lacamoire.png", f"{KNN}/train/alex_lacamoire/img1.jpg"),
    "lin": (f"{EXAMPLES}/lin-manuel-miranda.png",),
}
TOGETHER: dict[str, tuple[str, str]] = {
    f"{KNN}/test/obama_and_biden.jpg": ("biden", "obama"),
    f"{KNN}/test/kit_with_rose.jpg": ("rose", "kit"),
    f"{EXAMPLES}/two_people.jpg": ("obama", "biden"),
}
"""Photographs of two people, both known from others: the one on the left first."""
DIGEST = "ab85335133939f1d00e43f3b27c9cce1d1231597b9bfc88b1dd1554b0ee90d68"


class Photographs:
    """The photographs in a folder. Raises InputError if one is missing or another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        used = sorted({name for names in self.people.values() for name in names} | set(TOGETHER) | {PAIRS})
        found = digest_json({name: digest_bytes(self._read(name)) for name in used})
        if found != DIGEST:
            raise InputError(
                f"The photographs in {folder} are others than those this benchmark is of.",
                why=f"their digest is {found}.",
                remedy="Check out the commits that benchmarks/kit/photographs.py names.",
            )

    @cached_property
    def people(self) -> dict[str, tuple[str, ...]]:
        """Photographs of one person alone, by person."""
        groups: dict[str, set[str]] = {}
        for row in csv.DictReader(self._read(PAIRS).decode().splitlines()):
            first, second = (row[key].rsplit("/", 1)[-1] for key in ("file_x", "file_y"))
            for name in (first, second):
                groups.setdefault(name, {name})
            if row["decision"] == "Yes":
                joined = groups[first] | groups[second]
                groups |= dict.fromkeys(joined, joined)
        found = {min(group): tuple(sorted(f"{DATASET}/{name}" for name in group)) for group in groups.values()}
        return KNOWN | dict(sorted(found.items()))

    def open(self, name: str) -> Image.Image:
        """A photograph, RGB, at most LONGEST_PX long."""
        with Image.open(self._folder / name) as opened:
            image = opened.convert("RGB")
        image.thumbnail((LONGEST_PX, LONGEST_PX), Image.Resampling.LANCZOS)
        return image

    def _read(self, name: str) -> bytes:
        path = self._folder / name
        if not path.is_file():
            raise InputError(f"There is no {path}.", remedy="See benchmarks/kit/photographs.py for what belongs there.")
        return path.read_bytes()
