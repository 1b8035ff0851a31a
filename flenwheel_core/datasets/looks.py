"""What the picture of a painting says of itself: size, colour, borders, and what finds further scans of it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flenwheel_core.base.errors import BusyError, FlenwheelError, InputError, MissingWeightsError
from flenwheel_core.images.decode import Limits, decode
from flenwheel_core.images.quality import Measures, measure

_LOOKED_AT = Limits(maximum_side_px=320, quick=True)
_PLAIN = 5.0
"""Standard deviation, of 255, of a line of pixels that shows nothing."""
_SAME = 10.0
"""Levels by which lines of one border may differ."""
_ONE_HUE = 2.5
"""Standard deviation of a* and b* of a picture toned in one hue, such as a sepia print."""


@dataclass(frozen=True)
class Look:
    """What is known of a decoded picture. About 3 KiB."""

    size: tuple[int, int]
    """Width and height, before it was scaled down to be looked at."""
    saturation: float
    """Mean, 0 to 1."""
    hue_spread: float
    """Standard deviation of a* and b* together."""
    frame: float
    """Width of a plain border, as a share of the side."""
    measures: Measures


def look(data: bytes, name: str) -> Look | str:
    """What a picture shows, or why it cannot be read. It is decoded small, in a decoder."""
    try:
        decoded = decode(data, name, _LOOKED_AT)
    except BusyError:
        raise
    except (InputError, MissingWeightsError) as error:
        return error.what
    except FlenwheelError as error:
        return error.message
    pixels = np.asarray(decoded.image)
    lab = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return Look(
        size=decoded.size,
        saturation=round(float(_saturation(pixels).mean()), 4),
        hue_spread=round(float(np.hypot(lab[..., 1].std(), lab[..., 2].std())), 3),
        frame=round(frame_share(pixels), 4),
        measures=measure(decoded.image),
    )


def is_one_colour(seen: Look, minimum_saturation: float) -> bool:
    """True for grey pictures and for those toned in one hue."""
    return seen.saturation < minimum_saturation or seen.hue_spread < _ONE_HUE


def frame_share(pixels: NDArray[np.uint8]) -> float:
    """Width of the plain border on two opposite sides, as a share of that side; 0 without one. `pixels` is (height, width, 3).

    A sky that is plain at the top is no border: the opposite side must be plain in the same colour.
    """
    lines = pixels.astype(np.float32)
    return max(_border(lines), _border(lines.transpose(1, 0, 2)))


def _border(lines: NDArray[np.float32]) -> float:
    first, last = lines[0].mean(0), lines[-1].mean(0)
    if np.abs(first - last).max() > _SAME:
        return 0.0
    return min(_plain_lines(lines), _plain_lines(lines[::-1])) / len(lines)


def _plain_lines(lines: NDArray[np.float32]) -> int:
    """How many lines from the first on are plain, in the first one's colour; a picture that is plain all over has no border."""
    plain = (lines.std(1).max(-1) < _PLAIN) & (np.abs(lines.mean(1) - lines[0].mean(0)).max(-1) < _SAME)
    ends = np.flatnonzero(~plain)
    return int(ends[0]) if len(ends) else 0


def _saturation(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    red, green, blue = np.moveaxis(pixels, -1, 0)  # ten times as fast as the extremes along a last axis of three
    most = np.maximum(np.maximum(red, green), blue).astype(np.float32)
    least = np.minimum(np.minimum(red, green), blue).astype(np.float32)
    return np.asarray((most - least) / np.maximum(most, 1), np.float32)
