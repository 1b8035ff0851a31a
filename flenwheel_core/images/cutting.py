"""Cuts a picture to what a framing leaves of it, and makes the mask of what the framing hides."""

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from flenwheel_core.documents.framings import Framing

SOFT_EDGE = 0.01
"""Edges of hidden parts fade over this share of the picture's shorter side: a hard edge would be a shape of its own."""


def cut(image: Image.Image, framing: Framing) -> Image.Image:
    """The part of a picture that is kept; the picture itself if nothing is cut away."""
    if framing.crop is None:
        return image
    return image.crop(framing.crop.pixels(image.size))


def mask_of(size: tuple[int, int], framing: Framing, given: Image.Image | None = None) -> Image.Image | None:
    """The mask of the kept part: black where it is hidden, and where the given mask (of the whole picture) is black.

    None if there is nothing to mask.
    """
    if not framing.hidden:
        return None if given is None else cut(given.convert("L"), framing)
    mask = Image.new("L", size, 255)
    draw = ImageDraw.Draw(mask)
    for box in framing.hidden:
        left, top, right, bottom = box.pixels(size)
        draw.rectangle((left, top, right - 1, bottom - 1), fill=0)
    mask = mask.filter(ImageFilter.BoxBlur(SOFT_EDGE * min(size)))
    if given is not None:
        mask = ImageChops.darker(mask, given.convert("L").resize(size))
    kept = cut(mask, framing)
    return None if kept.getextrema() == (255, 255) else kept
