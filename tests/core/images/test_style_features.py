"""Each number answers to what it is named after, and to little else."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from flenwheel_core.images.style_features import NAMES, style_features
from flenwheel_core.nano.paintings import painting, scene
from flenwheel_core.nano.world.render import render

PIXELS = "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"


def numbers(image: Image.Image) -> dict[str, float]:
    return dict(zip(NAMES, style_features(image).values.tolist(), strict=True))


def stripes(period: int, angle: float, side: int = 128) -> Image.Image:
    rows, columns = np.mgrid[0:side, 0:side]
    wave = np.sin((columns * np.cos(angle) + rows * np.sin(angle)) * 2 * np.pi / period)
    return Image.fromarray((128 + 60 * wave).astype(np.uint8)).convert("RGB")


def dabs(length: int, width: int, side: int = 128) -> Image.Image:
    """Dabs of grey, all lying across, on grey."""
    chance = np.random.default_rng(0)
    pixels = np.full((side, side), 128, np.uint8)
    for _ in range(side * side // (length * width) * 2):
        x, y = chance.integers(0, side, 2)
        pixels[y : y + width, x : x + length] = chance.integers(60, 200)
    return Image.fromarray(pixels).convert("RGB")


def test_black_is_counted() -> None:
    picture = np.asarray(painting(1, 2)).copy()
    assert numbers(Image.fromarray(picture))["near_black"] < 0.01
    picture[:32] = 5
    assert numbers(Image.fromarray(picture))["near_black"] == pytest.approx(0.25, abs=0.02)


def test_shadows_have_a_hue_of_their_own_or_none() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32], picture[32:] = (40, 30, 110), (250, 220, 150)  # blue under yellow
    blue = numbers(Image.fromarray(picture))
    picture[:32] = (60, 50, 30)  # brown under yellow
    brown = numbers(Image.fromarray(picture))
    assert blue["shadow_hue"] > 2 > 0.6 > brown["shadow_hue"] and blue["shadow_chroma"] > brown["shadow_chroma"]
    grey = numbers(Image.fromarray(picture).convert("L").convert("RGB"))
    assert grey["shadow_hue"] < 0.05 and grey["chroma"] < 1


def test_colours_side_by_side_are_broken_and_their_mixture_is_not() -> None:
    rows, columns = np.mgrid[0:128, 0:128]
    broken = np.where(((rows // 3 + columns // 3) % 2)[..., None], (190, 120, 120), (120, 140, 190)).astype(np.uint8)
    plain = np.broadcast_to(broken.reshape(-1, 3).mean(0).astype(np.uint8), broken.shape)
    assert numbers(Image.fromarray(broken))["broken_colour"] > 10 > numbers(Image.fromarray(plain))["broken_colour"]


def test_one_direction_is_told_from_many() -> None:
    one = numbers(stripes(9, 0.5))
    chance = np.random.default_rng(0)
    noise = Image.fromarray(chance.integers(0, 255, (128, 128), dtype=np.uint8)).convert("RGB")
    many = numbers(noise.filter(ImageFilter.GaussianBlur(1)))
    assert one["orientations_2"] < 0.3 < 0.8 < many["orientations_2"]
    assert one["coherence_2"] > 0.9 > 0.6 > many["coherence_2"]


def test_longer_strokes_are_longer_and_wider_ones_wider() -> None:
    short, long, wide = (numbers(dabs(*shape)) for shape in ((5, 2), (14, 2), (14, 5)))
    assert long["stroke_length"] > short["stroke_length"] * 1.3
    assert wide["stroke_width"] > long["stroke_width"] * 1.3


def test_what_is_blurred_has_less_detail_and_size_does_not_matter() -> None:
    sharp = render(*scene(5))
    assert numbers(sharp)["detail"] > numbers(sharp.filter(ImageFilter.GaussianBlur(3)))["detail"] + 0.3
    picture = painting(3, 4, side=256)
    half, whole = (numbers(picture.resize((side, side), Image.Resampling.BICUBIC)) for side in (256, 512))
    assert half["stroke_length"] == pytest.approx(whole["stroke_length"], rel=0.2)
    assert half["shadow_chroma"] == pytest.approx(whole["shadow_chroma"], rel=0.1)
