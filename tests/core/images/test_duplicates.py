"""Copies are found through compression, blur, scaling and mirrors; edits are not taken for copies."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from flenwheel_core.images.duplicates import CopyFinder, embedding_copies
from flenwheel_core.images.quality import measure
from tests.kit.faces import astronaut, jpeg, without_face


def finder_of(*images: Image.Image, bits: int = 8) -> CopyFinder:
    finder = CopyFinder(bits)
    for image in images:
        finder.add(measure(image))
    return finder


@pytest.mark.parametrize(
    ("name", "copy"),
    [
        ("itself", astronaut()),
        ("compressed", jpeg(astronaut(), 20)),
        ("scaled", astronaut().resize((300, 300))),
        ("blurred", astronaut().filter(ImageFilter.GaussianBlur(2))),
        ("darker", ImageEnhance.Brightness(astronaut()).enhance(0.7)),
    ],
)
def test_copies_are_found(name: str, copy: Image.Image) -> None:
    match = finder_of(without_face("coffee"), astronaut()).find(measure(copy))
    assert match is not None, name
    assert (match.index, match.mirrored) == (1, False)


def test_mirrored_copies_are_found_and_called_so() -> None:
    match = finder_of(astronaut()).find(measure(ImageOps.mirror(astronaut())))
    assert match is not None and match.mirrored


def test_an_edit_in_one_place_is_no_copy() -> None:
    edited = astronaut()
    ImageDraw.Draw(edited).ellipse((190, 90, 260, 170), fill=(250, 220, 60))
    assert finder_of(astronaut()).find(measure(edited)) is None


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket"])
def test_other_pictures_are_no_copies(name: str) -> None:
    assert finder_of(astronaut()).find(measure(without_face(name))) is None


def test_no_pictures_no_copies() -> None:
    assert CopyFinder(8).find(measure(astronaut())) is None


def test_embedding_copies_point_to_the_first() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(1100, 8))
    rows[700] = rows[3] * 2
    rows[1050] = rows[700] + 1e-4
    found = embedding_copies(rows, 0.999)
    assert (found[700], found[1050], found[3]) == (3, 3, None)
    assert sum(target is not None for target in found) == 2
