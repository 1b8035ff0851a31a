"""What a framing leaves of a picture, and the mask that goes with it."""

import numpy as np
from PIL import Image

from flenwheel_core.documents.framings import Box, Framing
from flenwheel_core.images.cutting import cut, mask_of

LEFT_HALF = Box(left=0, top=0, right=0.5, bottom=1)
CORNER = Box(left=0.25, top=0.5, right=1, bottom=1)


def test_nothing_said_is_the_whole_picture_without_a_mask() -> None:
    image = Image.new("RGB", (200, 100), "red")
    assert cut(image, Framing()) is image
    assert mask_of(image.size, Framing()) is None


def test_the_mask_is_of_the_part_that_is_kept() -> None:
    framing = Framing(crop=LEFT_HALF, hidden=(CORNER,))
    assert cut(Image.new("RGB", (200, 100)), framing).size == (100, 100)
    mask = mask_of((200, 100), framing)
    assert mask is not None and mask.size == (100, 100)
    shades = np.asarray(mask)
    assert shades[:45].min() == 255 and shades[:, :45].min() == 255 and shades[55:, 55:].max() == 0


def test_what_lies_outside_the_cut_needs_no_mask() -> None:
    right = Box(left=0.6, top=0, right=1, bottom=1)
    assert mask_of((200, 100), Framing(crop=LEFT_HALF, hidden=(right,))) is None


def test_a_given_mask_is_cut_too_and_stays_black_where_it_was() -> None:
    given = Image.new("L", (200, 100), 255)
    given.paste(0, (0, 0, 20, 100))
    cut_only = mask_of((200, 100), Framing(crop=LEFT_HALF), given)
    assert cut_only is not None and cut_only.size == (100, 100) and cut_only.getpixel((5, 5)) == 0
    both = mask_of((200, 100), Framing(hidden=(CORNER,)), given)
    assert both is not None
    assert (both.getpixel((5, 5)), both.getpixel((100, 20)), both.getpixel((150, 90))) == (0, 255, 0)
