"""Photographs whose face is spoiled in a known way, as generators spoil them, and honest variants of good ones."""

import io
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from benchmarks.kit.photographs import Photographs
from flenwheel_core.base.ids import derive_seed
from flenwheel_core.identity.faces import FaceFinder

Pixels = NDArray[np.uint8]
Shades = NDArray[np.float32]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Place:
    """Where the face is: a soft mask (height, width), the places of all pixels, and its centre and radius."""

    mask: Shades
    x: Shades
    y: Shades
    centre: tuple[float, float]
    radius: float

    @classmethod
    def of(cls, pixels: Pixels, box: Box) -> "Place":
        y, x = np.mgrid[0 : pixels.shape[0], 0 : pixels.shape[1]].astype(np.float32)
        centre, radius = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), (box[3] - box[1]) * 0.75
        distance = np.hypot((x - centre[0]) / (0.85 * radius), (y - centre[1]) / radius)
        return cls(np.clip((1.1 - distance) / 0.25, 0, 1).astype(np.float32), x, y, centre, radius)

    def mixed(self, before: Pixels, after: Pixels) -> Pixels:
        return np.asarray(before * (1 - self.mask[..., None]) + after * self.mask[..., None]).astype(np.uint8)

    def moved(self, pixels: Pixels, x: NDArray[np.floating], y: NDArray[np.floating]) -> Pixels:
        found = cv2.remap(
            pixels, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        return self.mixed(pixels, np.asarray(found, np.uint8))


def waves(pixels: Pixels, at: Place, random: np.random.Generator) -> Pixels:
    """Pulled about in waves and a little soft, as the nano world's smears."""
    k, turn, pull = random.uniform(3, 7) / at.radius, random.uniform(0, 6.28), random.uniform(0.06, 0.14) * at.radius
    across = np.sin(k * (at.x + at.y) + turn) + np.cos(1.3 * k * (at.x - at.y) - turn)
    down = np.cos(0.8 * k * (at.x - at.y) + 2 * turn) + np.sin(1.1 * k * (at.x + 0.5 * at.y) - turn)
    moved = at.moved(pixels, at.x + pull * across * at.mask, at.y + pull * down * at.mask)
    return _soft(moved, at)


def swirl(pixels: Pixels, at: Place, random: np.random.Generator) -> Pixels:
    """Turned around a point of the face."""
    x0, y0 = (centre + random.uniform(-0.25, 0.25) * at.radius for centre in at.centre)
    far = np.hypot(at.x - x0, at.y - y0)
    angle = random.choice([-1, 1]) * random.uniform(0.7, 1.6) * np.exp(-((far / (0.6 * at.radius)) ** 2)) * at.mask
    cos, sin = np.cos(angle), np.sin(angle)
    return at.moved(pixels, x0 + (at.x - x0) * cos - (at.y - y0) * sin, y0 + (at.x - x0) * sin + (at.y - y0) * cos)


def flow(pixels: Pixels, at: Place, random: np.random.Generator) -> Pixels:
    """Pulled about by a smooth random field and a little soft."""
    cells, pull = int(random.integers(4, 8)), random.uniform(0.10, 0.18) * at.radius

    def field() -> Shades:
        grid = random.normal(size=(cells, cells)).astype(np.float32)
        x = ((at.x - at.centre[0]) / (2.4 * at.radius) + 0.5) * (cells - 1)
        y = ((at.y - at.centre[1]) / (2.4 * at.radius) + 0.5) * (cells - 1)
        return np.asarray(cv2.remap(grid, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32)

    return _soft(at.moved(pixels, at.x + pull * field() * at.mask, at.y + pull * field() * at.mask), at)


def melted(pixels: Pixels, at: Place, random: np.random.Generator) -> Pixels:
    """Smeared along a line."""
    length, angle = int(max(5, random.uniform(0.18, 0.35) * at.radius)), random.uniform(0, np.pi)
    kernel = np.zeros((length, length), np.float32)
    for step in np.linspace(-(length // 2), length // 2, 4 * length):
        row, column = (round(length // 2 + step * part) for part in (np.sin(angle), np.cos(angle)))
        if 0 <= row < length and 0 <= column < length:
            kernel[row, column] = 1
    return at.mixed(pixels, np.asarray(cv2.filter2D(pixels, -1, kernel / kernel.sum()), np.uint8))


def doubled(pixels: Pixels, at: Place, random: np.random.Generator) -> Pixels:
    """Seen twice, a little beside itself."""
    dx, dy = (random.uniform(0.1, 0.28) * at.radius * random.choice([-1, 1]) for _ in range(2))
    shift = np.asarray([[1, 0, dx], [0, 1, dy]], np.float32)
    other = cv2.warpAffine(pixels, shift, pixels.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    return at.mixed(pixels, np.asarray(cv2.addWeighted(pixels, 0.5, other, 0.5, 0), np.uint8))


def smooth(pixels: Pixels, at: Place, random: np.random.Generator) -> Pixels:
    """Skin like wax: small differences are gone, edges stay."""
    reach, found = max(1.0, at.radius * random.uniform(0.02, 0.04)), pixels
    for _ in range(int(random.integers(2, 4))):
        found = np.asarray(cv2.bilateralFilter(found, 0, 30, reach), np.uint8)
    return at.mixed(pixels, found)


def denoised(pixels: Pixels, at: Place, random: np.random.Generator) -> Pixels:
    """Skin like wax in another way: what repeats itself stays, what does not is averaged away."""
    strength = float(random.uniform(8, 16))
    found = cv2.fastNlMeansDenoisingColored(np.ascontiguousarray(pixels), None, strength, strength, 5, 9)
    return at.mixed(pixels, np.asarray(found, np.uint8))


SPOILS: Mapping[str, Callable[[Pixels, Place, np.random.Generator], Pixels]] = {
    "waves": waves,
    "swirl": swirl,
    "flow": flow,
    "melted": melted,
    "doubled": doubled,
    "smooth": smooth,
    "denoised": denoised,
}


def _soft(pixels: Pixels, at: Place) -> Pixels:
    side = max(1, int(at.radius * 0.03))
    return at.mixed(pixels, np.asarray(cv2.blur(pixels, (side, side)), np.uint8))


def honest(image: Image.Image, box: Box, random: np.random.Generator) -> tuple[Image.Image, Box]:
    """Mirrored, turned, toned, smaller, softer, compressed: what happens to good pictures. The picture, and where its face is then."""
    x, y, half = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, (box[3] - box[1]) / 2
    if random.random() < 0.5:
        image, x = ImageOps.mirror(image), image.width - x
    turn = float(random.uniform(-8, 8))
    image = image.rotate(turn, Image.Resampling.BICUBIC)
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    dx, dy = x - image.width / 2, y - image.height / 2
    x, y = image.width / 2 + dx * cos + dy * sin, image.height / 2 - dx * sin + dy * cos
    image = ImageEnhance.Brightness(image).enhance(float(random.uniform(0.6, 1.3)))
    image = ImageEnhance.Contrast(image).enhance(float(random.uniform(0.75, 1.2)))
    scale = float(random.uniform(0.6, 1))
    image = image.resize((int(image.width * scale), int(image.height * scale)), Image.Resampling.BICUBIC)
    if random.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(float(random.uniform(0, 1))))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(random.integers(45, 95)))
    # Detectors do not find the very same rectangle twice.
    x, y, half = ((value + random.normal() * 0.03 * half) * scale for value in (x, y, half))
    return Image.open(buffer).convert("RGB"), (x - half, y - half, x + half, y + half)


def around(image: Image.Image, box: Box, height: float = 160) -> tuple[Image.Image, Box]:
    """The part of a photograph around a face, the face at most `height` px high; and where it is then."""
    side = box[3] - box[1]
    left, top = max(0, int(box[0] - side)), max(0, int(box[1] - side))
    part = image.crop((left, top, min(image.width, int(box[2] + side)), min(image.height, int(box[3] + side))))
    scale = min(1.0, height / side)
    part = part.resize((round(part.width * scale), round(part.height * scale)), Image.Resampling.LANCZOS)
    first, second, third, fourth = ((value - start) * scale for value, start in zip(box, (left, top) * 2, strict=True))
    return part, (first, second, third, fourth)


def halves(photographs: Photographs) -> tuple[list[str], list[str]]:
    """The people to train on, and those to measure with: every second one."""
    names = sorted(photographs.people)
    return names[0::2], names[1::2]


def variants(
    photographs: Photographs, names: Sequence[str], number: int, each: int, kinds: Collection[str] = tuple(SPOILS)
) -> dict[str, list[tuple[Image.Image, Box]]]:
    """Honest variants of the people's photographs, and of each way of spoiling; each with the place of its face."""
    finder, found = FaceFinder(), dict[str, list[tuple[Image.Image, Box]]]()
    for file in (file for name in names for file in photographs.people[name]):
        image, random = photographs.open(file), np.random.default_rng(derive_seed(zlib.crc32(file.encode()), "spoil"))
        faces = finder.find(image, 0.3)
        if not faces:
            continue
        face = faces[0]
        part, box = around(image, (face.left, face.top, face.right, face.bottom))
        pixels = np.asarray(part)
        at = Place.of(pixels, box)
        found.setdefault("good", []).extend(honest(part, box, random) for _ in range(number))
        for kind, change in ((kind, change) for kind, change in SPOILS.items() if kind in kinds):
            made = (Image.fromarray(change(pixels, at, random)) for _ in range(each))
            found.setdefault(kind, []).extend(honest(one, box, random) for one in made)
    return found
