"""A character in a view, drawn."""

import numpy as np
from PIL import Image, ImageFilter

from flenwheel_core.nano.world.backdrop import draw_backdrop
from flenwheel_core.nano.world.body import draw_person
from flenwheel_core.nano.world.characters import Character
from flenwheel_core.nano.world.finish import lit, styled
from flenwheel_core.nano.world.views import View

OVERSAMPLING = 3
"""Shapes are drawn this much larger and scaled down, for smooth edges."""


def render(character: Character, view: View, size: int = 128) -> Image.Image:
    """The picture, RGB, `size` pixels a side. The same character and view give the same picture everywhere."""
    large = size * OVERSAMPLING
    place = draw_backdrop(view, large).reduce(OVERSAMPLING)
    if view.pose == "portrait":
        place = place.filter(ImageFilter.BoxBlur(size * 0.006))
    person = draw_person(character, view, large).reduce(OVERSAMPLING)
    pixels = styled(lit(np.asarray(person, np.float32), np.asarray(place, np.float32), view), view)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
