"""Editors on held-out edits: the figures mean what they say."""

import numpy as np
import pytest
from PIL import Image

from flenwheel_core.documents.images import Labels
from flenwheel_core.evaluation.editors import (
    followed,
    measure_edit,
    nearness,
    readable,
)


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8))


def patched(image: Image.Image, box: tuple[int, int, int, int], colour: tuple[int, int, int]) -> Image.Image:
    edited = image.copy()
    edited.paste(colour, box)
    return edited


def test_outside_of_the_edit_only_the_source_counts() -> None:
    source = noise(0)
    target = patched(source, (0, 0, 32, 64), (255, 0, 0))
    right = measure_edit(source, target, target)
    assert right.target_error == 0 and right.kept_psnr_db == 60 and right.kept_ssim == pytest.approx(1)
    wrong_inside = measure_edit(source, target, source)
    assert wrong_inside.target_error > 50 and wrong_inside.kept_psnr_db == 60
    wrong_outside = measure_edit(source, target, patched(target, (32, 0, 64, 64), (0, 0, 0)))
    assert wrong_outside.kept_psnr_db < 10 and wrong_outside.kept_ssim < 0.1
    everything = measure_edit(source, noise(1), noise(1))
    assert everything.kept_psnr_db is None and everything.target_error == 0


def test_nearness_asks_which_answer_an_edit_is_like_where_it_was_corrected() -> None:
    rejected = noise(0)
    target = patched(rejected, (8, 8, 20, 16), (255, 255, 255))
    right, wrong = nearness(rejected, target, target), nearness(rejected, target, rejected)
    assert right is not None and right > 50
    assert wrong is not None and wrong < -50
    elsewhere = patched(target, (0, 32, 64, 64), (0, 0, 0))
    assert nearness(rejected, target, elsewhere) == right
    moved = patched(rejected, (9, 10, 21, 18), (255, 255, 255))
    found = nearness(rejected, target, moved)
    assert found is not None and found > 75, "a pixel of 64 to the right and two down is no mistake"
    assert nearness(rejected, rejected, target) is None


def test_what_the_reader_misreads_in_the_right_answer_is_not_asked() -> None:
    asked = Labels(angle="front", expression="sad", pose="sitting")
    left = readable(asked, Labels(angle="front", expression="smiling", background="beach"))
    assert left == Labels(angle="front", pose="sitting")


def test_followed_compares_what_both_know() -> None:
    assert followed(Labels(angle="front", background="forest"), Labels(angle="front", expression="sad")) is True
    assert followed(Labels(angle="front"), Labels(angle="half-left")) is False
    assert followed(Labels(background="forest"), Labels(angle="front")) is None
