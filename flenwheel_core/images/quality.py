"""Sharpness, exposure and the small figures by which near-identical pictures are found."""

from dataclasses import dataclass

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SHARPNESS_SIDE_PX = 512
THUMBNAIL_PX = 32
DARK = 5
BRIGHT = 250


@dataclass(frozen=True)
class Measures:
    """What is known of a picture without knowing what it shows. About 3 KiB, so that thousands fit in memory."""

    width: int
    height: int
    sharpness: float
    """Variance of the Laplacian at a long side of at most 512 px. Scene-dependent: compare with references only."""
    brightness: float
    """Mean grey value, 0 to 255."""
    clipped: float
    """Share of pixels that are pure black or pure white."""
    phash: int
    """64-bit perceptual hash."""
    phash_mirrored: int
    thumbnail: NDArray[np.uint8]
    """(32, 32, 3) RGB."""


def measure(image: Image.Image) -> Measures:
    """The measures of an RGB picture."""
    grey = image.convert("L")
    values = np.asarray(grey)
    return Measures(
        width=image.width,
        height=image.height,
        sharpness=sharpness_of(grey),
        brightness=round(float(values.mean()), 3),
        clipped=round(float(((values <= DARK) | (values >= BRIGHT)).mean()), 5),
        phash=_phash(grey),
        phash_mirrored=_phash(ImageOps.mirror(grey)),
        thumbnail=np.asarray(image.convert("RGB").resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX)),
    )


def sharpness_of(image: Image.Image) -> float:
    """Variance of the Laplacian of the grey picture, scaled down to a long side of 512 px if it is larger."""
    grey = image.convert("L")
    scale = SHARPNESS_SIDE_PX / max(grey.size)
    if scale < 1:
        size = (max(3, round(grey.width * scale)), max(3, round(grey.height * scale)))
        grey = grey.resize(size, Image.Resampling.BOX)
    return round(float(cv2.Laplacian(np.asarray(grey), cv2.CV_64F).var()), 3)


def _phash(grey: Image.Image) -> int:
    return int(str(imagehash.phash(grey)), 16)
