"""What changed between two pictures of one shape: where, how far, and whether the whole was shifted or zoomed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flenwheel_core.documents.triplets import TripletProblem
from flenwheel_core.images.alignment import align

SMALLEST_SIDE_PX = 64


ASPECT_TOLERANCE = 0.02


BLOCK_PX = 8
"""Pictures are compared as 128 x 128 copies, in blocks of this many pixels."""


SIDE_PX = 128


UNCHANGED_BELOW = 2.5
"""If no block's mean colour differs by more levels of 255, the edit did nothing."""


SAME_SCENE = 0.6
"""From this correlation on, two pictures show the same view of the same scene."""


SHIFT_TOLERANCE = 0.02


ZOOMS = (0.88, 0.92, 0.96, 1.04, 1.08, 1.12)


ZOOM_GAIN = 0.08
"""A zoomed picture matches better by this much correlation once the zoom is undone."""


Pixels = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """Source and target of a triplet."""

    source: Image.Image
    target: Image.Image


def check_pair(pair: Pair) -> list[TripletProblem]:
    """What is wrong with a source and its target."""
    problems = []
    side = min(*pair.source.size, *pair.target.size)
    if side < SMALLEST_SIDE_PX:
        problems.append(TripletProblem(code="too_small", value=side, limit=SMALLEST_SIDE_PX))
    aspects = [image.width / image.height for image in (pair.source, pair.target)]
    difference = abs(aspects[0] / aspects[1] - 1)
    if difference > ASPECT_TOLERANCE:
        detail = f"source {pair.source.width}x{pair.source.height}, target {pair.target.width}x{pair.target.height}"
        problems.append(TripletProblem(code="other_shape", value=difference, limit=ASPECT_TOLERANCE, detail=detail))
        return problems
    changed = _largest_difference(_small(pair.source), _small(pair.target))
    if changed < UNCHANGED_BELOW:
        return [*problems, TripletProblem(code="unchanged", value=changed, limit=UNCHANGED_BELOW)]
    return problems + moves(pair)


def changed_region(source: Image.Image, target: Image.Image, rows: int, columns: int) -> NDArray[np.float32]:
    """(rows, columns): how much the edit changes each place, 0 to 1. Slight noise everywhere counts as nothing."""
    size = (columns * BLOCK_PX, rows * BLOCK_PX)
    one, other = (
        np.asarray(image.convert("RGB").resize(size, Image.Resampling.BOX), dtype=np.float32)
        for image in (source, target)
    )
    gap = np.abs(one - other).mean(axis=2).reshape(rows, BLOCK_PX, columns, BLOCK_PX).mean(axis=(1, 3))
    region: NDArray[np.float32] = np.clip((gap - 4.0) / 20.0, 0.0, 1.0).astype(np.float32)
    return region


def moves(pair: Pair) -> list[TripletProblem]:
    """Shift and zoom between two pictures of the same scene."""
    shift, aligned = align(pair.source, pair.target)
    if aligned >= SAME_SCENE and shift > SHIFT_TOLERANCE:
        return [TripletProblem(code="shifted", value=shift, limit=SHIFT_TOLERANCE)]
    plain = _correlation(pair.source, pair.target)
    best, zoom = max((_correlation(_zoomed(pair.source, zoom), pair.target), zoom) for zoom in ZOOMS)
    if best >= SAME_SCENE and best > plain + ZOOM_GAIN:
        return [TripletProblem(code="zoomed", value=zoom, limit=1.0)]
    return []


def _small(image: Image.Image) -> Pixels:
    """Mean colours (rows, columns, 3) of the blocks of a small copy."""
    small = np.asarray(image.convert("RGB").resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX), dtype=np.float64)
    count = SIDE_PX // BLOCK_PX
    blocks: Pixels = small.reshape(count, BLOCK_PX, count, BLOCK_PX, 3).mean(axis=(1, 3))
    return blocks


def _largest_difference(first: Pixels, second: Pixels) -> float:
    return float(np.abs(first - second).max())


def _correlation(first: Image.Image, second: Image.Image) -> float:
    one, other = (
        np.asarray(image.convert("L").resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX), dtype=np.float64)
        for image in (first, second)
    )
    left, right = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((left**2).sum() * (right**2).sum()))
    return float((left * right).sum()) / scale if scale > 0 else 0.0


def _zoomed(image: Image.Image, zoom: float) -> Image.Image:
    """The picture's centre enlarged (zoom above 1), or the picture made smaller on its own edge colours."""
    width, height = image.size
    inner = (round(width / zoom), round(height / zoom))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    box = (left, top, left + inner[0], top + inner[1])
    if zoom >= 1:
        return image.crop(box).resize(image.size, Image.Resampling.BILINEAR)
    small = image.resize((round(width * zoom), round(height * zoom)), Image.Resampling.BILINEAR)
    edge = image.resize((1, 1), Image.Resampling.BOX).resize(image.size)
    edge.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
    return edge
