"""Masks find their pictures by name, in the layouts of other trainers; each of them is one line."""

from pathlib import Path

import pytest

from flenwheel_core.images.folder import find_sources, sort_folder
from flenwheel_core.images.folder_masks import ANOTHER, NO_PICTURE, USED


@pytest.mark.parametrize(
    ("picture", "mask"),
    [
        ("01.png", "01-masklabel.png"),
        ("a/01.jpg", "a/01-masklabel.png"),
        ("01.PNG", "01_MaskLabel.png"),
        ("01.png", "01_mask.png"),
        ("01.png", "mask/01.png"),
        ("a/01.png", "masks/a/01.png"),
        ("img/10_mira woman/01.png", "mask/01.jpg"),
        ("img/01.png", "mask/01_mask.png"),
        ("hero_mask.png", "mask/hero_mask.png"),
    ],
)
def test_a_mask_belongs_to_the_picture_of_its_name(picture: str, mask: str) -> None:
    found = sort_folder((picture, mask, "other.png"), lambda name: b"")
    assert found.masks == {picture: mask} and set(found.captions) == {picture, "other.png"}
    assert f"{mask}: {USED}" in found.notes


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("01.png", "02-masklabel.png"), f"02-masklabel.png: {NO_PICTURE}"),
        (("a/01.png", "b/01.png", "mask/01.png"), f"mask/01.png: {NO_PICTURE}"),
        (("reg/01.png", "02.png", "reg/01-masklabel.png"), "left out: class pictures"),
    ],
)
def test_a_mask_without_a_picture_is_left_out_with_a_line(names: tuple[str, ...], said: str) -> None:
    found = sort_folder(names, lambda name: b"")
    assert found.masks == {} and any(said in note for note in found.notes)


def test_a_second_mask_is_left_out_with_a_line() -> None:
    found = sort_folder(("01.png", "01-masklabel.png", "01_mask.png"), lambda name: b"")
    assert found.masks == {"01.png": "01-masklabel.png"} and f"01_mask.png: {ANOTHER}" in found.notes


def test_a_single_picture_has_the_mask_beside_it(tmp_path: Path) -> None:
    for name in ("01.png", "01-masklabel.png", "01-masklabel.txt", "02-masklabel.png"):
        (tmp_path / name).write_bytes(b"x")
    (file,) = find_sources(tmp_path / "01.png").files
    assert file.mask == tmp_path / "01-masklabel.png"
