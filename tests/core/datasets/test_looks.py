import numpy as np
import pytest
from PIL import Image, ImageOps

from flenwheel_core.datasets.looks import Look, frame_share, is_one_colour, look
from flenwheel_core.nano.paintings import painting
from tests.kit.paintings import jpeg


def seen(image: Image.Image) -> Look:
    found = look(jpeg(np.asarray(image)), "x.jpg")
    assert isinstance(found, Look)
    return found


def test_a_frame_is_told_from_a_plain_sky() -> None:
    plain = painting(11, 1)
    assert frame_share(np.asarray(plain)) == 0
    framed = ImageOps.expand(plain, border=8, fill=(240, 240, 235))
    assert frame_share(np.asarray(framed)) == pytest.approx(8 / 144, abs=0.02)
    beside = Image.new("RGB", (148, 128), (30, 30, 30))
    beside.paste(plain, (10, 0))
    assert frame_share(np.asarray(beside)) == pytest.approx(10 / 148, abs=0.02)
    sky = np.asarray(plain).copy()
    sky[:20] = (120, 170, 230)
    assert frame_share(sky) == 0
    assert frame_share(np.full((64, 64, 3), 90, np.uint8)) == 0


def test_prints_and_sepia_have_one_colour_and_paintings_do_not() -> None:
    picture = painting(12, 3)
    grey = ImageOps.grayscale(picture)
    sepia = ImageOps.colorize(grey, (40, 26, 13), (245, 232, 210))
    assert is_one_colour(seen(grey.convert("RGB")), 0.05)
    assert seen(sepia).saturation > 0.05
    assert not is_one_colour(seen(picture), 0.05)


def test_what_cannot_be_read_is_said_and_size_is_that_of_the_file() -> None:
    assert "cannot be read" in str(look(b"nothing", "x.jpg")) or "no picture" in str(look(b"nothing", "x.jpg"))
    assert seen(painting(11, 2).resize((700, 500))).size == (700, 500)
