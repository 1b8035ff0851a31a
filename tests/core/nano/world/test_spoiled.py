"""Spoiled pictures are spoiled in the way they say."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from flenwheel_core.nano.world import SPOIL_KINDS, SpoilKind, View, make_character, render, spoil

CHARACTER = make_character(1_000_010)
VIEW = View("half-left", "smiling", background="urban", seed=3)


def pixels(image: Image.Image) -> NDArray[np.float32]:
    return np.asarray(image, np.float32)


def detail(image: Image.Image) -> float:
    grey = np.asarray(image.convert("L"), np.float32)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


@pytest.mark.parametrize("kind", SPOIL_KINDS)
def test_spoiling_is_repeatable_and_changes_the_picture(kind: SpoilKind) -> None:
    first, again = spoil(kind, CHARACTER, VIEW, 4), spoil(kind, CHARACTER, VIEW, 4)
    assert first.image.tobytes() == again.image.tobytes()
    assert (first.kind, first.detail) == (kind, again.detail)
    assert first.image.tobytes() != render(CHARACTER, VIEW).tobytes()


def test_wrong_angle_and_expression_say_which() -> None:
    wrong = spoil("wrong_angle", CHARACTER, VIEW, 4)
    assert wrong.detail != VIEW.angle
    right = View(wrong.detail, VIEW.expression, background="urban", seed=3)
    assert wrong.image.tobytes() == render(CHARACTER, right).tobytes()
    assert spoil("wrong_expression", CHARACTER, VIEW, 5).detail in ("neutral", "angry", "sad")


def test_wrong_identity_is_another_held_out_character() -> None:
    wrong = spoil("wrong_identity", CHARACTER, VIEW, 4)
    other = int(wrong.detail.removeprefix("character "))
    assert other >= 1_000_000 and other != CHARACTER.seed
    assert wrong.image.tobytes() == render(make_character(other), VIEW).tobytes()


def test_blur_copy_and_exposure_differ_as_much_as_they_should() -> None:
    truth = render(CHARACTER, VIEW)
    assert detail(spoil("blur", CHARACTER, VIEW, 4).image) < 0.6 * detail(truth)
    copy = np.abs(pixels(spoil("near_copy", CHARACTER, VIEW, 4).image) - pixels(truth)).mean()
    assert 0.2 < copy < 8
    exposed = pixels(spoil("bad_exposure", CHARACTER, VIEW, 4).image).mean()
    assert not 70 < exposed < 185


def test_a_smear_hits_the_face_and_leaves_the_rest() -> None:
    difference = np.abs(pixels(spoil("smeared_face", CHARACTER, VIEW, 4).image) - pixels(render(CHARACTER, VIEW))).max(
        2
    )
    assert difference[40:70, 48:80].mean() > 12
    assert difference[115:].max() == 0
