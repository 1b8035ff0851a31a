"""What training cuts away of a picture is said at ingest."""

import pytest

from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.plans.cuts import cut_notes
from flenwheel_core.recipes.train import TrainingRecipe


def source(width: int, height: int) -> ImageRecord:
    return ImageRecord(
        digest="0" * 64,
        width=width,
        height=height,
        kind=ImageKind.SOURCE,
        stage="ingest",
        request="0" * 64,
        item="sub/pano [1].jpg",
    )


@pytest.mark.parametrize("size", [(1024, 1024), (1500, 1000), (1000, 1500), (1920, 1080), (900, 1600), (2048, 819)])
def test_ordinary_shapes_are_not_worth_a_word(size: tuple[int, int]) -> None:
    assert cut_notes([source(*size)], TrainingRecipe()) == ()


def test_a_panorama_loses_its_ends() -> None:
    (note,) = cut_notes([source(4369, 819)], TrainingRecipe())
    assert note.startswith("sub/pano [1].jpg: training cuts 5") and "left and right" in note
    (note,) = cut_notes([source(819, 4369)], TrainingRecipe())
    assert "top and bottom" in note


def test_without_buckets_every_picture_becomes_a_square() -> None:
    (note,) = cut_notes([source(1500, 1000)], TrainingRecipe(aspect_buckets=False))
    assert "33%" in note and "a square" in note
