"""Masks of strangers: scaled to their picture, or one sentence that says why not."""

import io

import pytest
from PIL import Image

from flenwheel_core.base.errors import InputError
from flenwheel_core.images.masks import read_mask
from flenwheel_core.images.reading import Limits

SIZE = (64, 48)


def written(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def half(size: tuple[int, int], mode: str = "L") -> Image.Image:
    """The left half is white."""
    image = Image.new("L", size)
    image.paste(255, (0, 0, size[0] // 2, size[1]))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB"])
def test_a_mask_of_another_size_is_scaled(mode: str) -> None:
    mask, size = read_mask(written(half((128, 96), mode)), "m.png", SIZE, Limits(size_px=SIZE))
    assert (mask.mode, mask.size, size) == ("L", SIZE, (128, 96))
    assert mask.getpixel((8, 20)) == 255 and mask.getpixel((56, 20)) == 0


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"no picture", "m.png is no picture that can be read"),
        (b"", "m.png is empty"),
        (written(half(SIZE))[:60], "m.png is damaged"),
        (written(Image.new("L", SIZE, 0)), "m.png is black all over"),
        (written(Image.new("L", SIZE, 6), "JPEG"), "m.png is black all over"),
        (written(half((48, 64))), "m.png lies across its picture: 48x64 beside 64x48"),
        (written(Image.new("RGBA", SIZE, (255, 255, 255, 0))), "m.png is partly transparent"),
    ],
    ids=["text", "empty", "cut", "black", "black JPEG", "across", "transparent"],
)
def test_a_mask_that_cannot_be_used_is_one_sentence(data: bytes, why: str) -> None:
    with pytest.raises(InputError) as refused:
        read_mask(data, "m.png", SIZE, Limits(size_px=SIZE))
    assert why in refused.value.what
