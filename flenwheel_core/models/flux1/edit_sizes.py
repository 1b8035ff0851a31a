"""The sizes of a FLUX.1 Kontext edit: it was trained on some formats of one megapixel, and sources are brought to the nearest of them."""

import math

from flenwheel_core.images.buckets import Placement
from flenwheel_core.models.flux1.packing import PIXELS_PER_TOKEN

Size = tuple[int, int]
"""Width and height in pixels, as PIL has it."""
_TRAINED_AREA = 1024 * 1024
_UNSEEN = 0.01
"""A shape that differs by less is left alone: scaling costs sharpness."""


def preferred_placement(size: Size, area: int) -> Placement:
    """Where the source of an edit goes: to the trained format whose ratio is nearest, not cut but stretched, as FluxKontextPipeline does.

    At an `area` of one megapixel it is the pipeline's own size; otherwise the same format with about so many pixels.
    """
    from diffusers.pipelines.flux.pipeline_flux_kontext import PREFERRED_KONTEXT_RESOLUTIONS

    ratio = size[0] / size[1]
    _, width, height = min((abs(ratio - w / h), w, h) for w, h in PREFERRED_KONTEXT_RESOLUTIONS)
    scale = math.sqrt(area / _TRAINED_AREA)
    width, height = _whole(width * scale), _whole(height * scale)
    return Placement(width, height, (width, height))


def unstretched(source: Size, drawn: Size) -> Size:
    """The size that gives an edit its source's shape again: a format may be 8 % wider or narrower, and so would be the face."""
    if abs(drawn[0] * source[1] / (drawn[1] * source[0]) - 1) < _UNSEEN:
        return drawn
    width = math.sqrt(drawn[0] * drawn[1] * source[0] / source[1])
    return round(width), max(1, round(width * source[1] / source[0]))


def _whole(side: float) -> int:
    return max(1, round(side / PIXELS_PER_TOKEN)) * PIXELS_PER_TOKEN
