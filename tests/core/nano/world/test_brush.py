"""Painters have a hand: paintings of one are alike in what style is made of, and unlike photos."""

import cv2
import numpy as np

from flenwheel_core.nano.paintings import painting, scene
from flenwheel_core.nano.world.brush import make_painter, paint
from flenwheel_core.nano.world.render import render


def lab(picture: object) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return np.asarray(cv2.cvtColor(np.asarray(picture, np.float32) / 255, cv2.COLOR_RGB2LAB))


def test_the_same_painting_everywhere_and_another_of_another_painter() -> None:
    assert painting(3, 5).tobytes() == painting(3, 5).tobytes()
    assert painting(3, 5).tobytes() != painting(4, 5).tobytes()
    assert make_painter(7) == make_painter(7) != make_painter(8)


def test_black_becomes_a_coloured_shadow() -> None:
    picture = render(*scene(1))
    before, after = lab(picture), lab(paint(picture, make_painter(5), 0))
    assert (before[..., 0] < 20).mean() > 0.02 > (after[..., 0] < 15).mean()
    shade = before[..., 0] < 20
    assert np.hypot(*after[shade][:, 1:].mean(0)) > np.hypot(*before[shade][:, 1:].mean(0)) + 5


def test_a_plain_colour_becomes_many() -> None:
    from PIL import Image

    plain = Image.new("RGB", (96, 96), (150, 170, 90))
    assert lab(paint(plain, make_painter(5), 0))[..., 1:].std(axis=(0, 1)).min() > 2


def test_what_is_shown_stays_where_it_is() -> None:
    picture = render(*scene(4))
    before = cv2.GaussianBlur(lab(picture)[..., 0], (0, 0), 6)
    after = cv2.GaussianBlur(lab(paint(picture, make_painter(9), 1))[..., 0], (0, 0), 6)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.9
