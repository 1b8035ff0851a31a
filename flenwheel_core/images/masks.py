"""Masks that a person made: what of a picture is to be learned, in shades of grey. White is learned fully, black hardly."""

from PIL import Image

from flenwheel_core.base.errors import InputError
from flenwheel_core.images.decode import Limits, decode
from flenwheel_core.images.reading import TRANSPARENT

BLACK = 16
"""A mask whose brightest pixel is darker marks nothing: JPEG's black is not exactly 0."""


def read_mask(data: bytes, name: str, size: tuple[int, int], limits: Limits) -> tuple[Image.Image, tuple[int, int]]:
    """The mask in `data` as a grey picture, scaled as `limits` say, and the size that it had.

    `size` is that of its picture before that was scaled. Raises InputError for a mask that cannot be used.
    """
    decoded = decode(data, name, limits)
    if TRANSPARENT in decoded.notes:
        raise InputError(f"{name} is partly transparent, which says nothing.", remedy="Save it in black and white.")
    width, height = decoded.size
    if (width - height) * (size[0] - size[1]) < 0:
        raise InputError(
            f"{name} lies across its picture: {width}x{height} beside {size[0]}x{size[1]}.", remedy="Turn the mask."
        )
    grey = decoded.image.convert("L")
    if not grey.point(lambda value: 255 if value >= BLACK else 0).getbbox():
        raise InputError(f"{name} is black all over, so it marks nothing.", remedy="Paint white what is to be learned.")
    return grey, decoded.size
