"""Photographs of hands that are spoiled in a known way, as generators spoil them, and honest variants of good ones."""

import io
import itertools
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image

from benchmarks.kit.hand_finder import HandFinder, Points, Square
from benchmarks.kit.people_pictures import PeoplePictures
from benchmarks.kit.photographs import Photographs
from benchmarks.kit.spoiled_faces import SPOILS as FACE_SPOILS
from benchmarks.kit.spoiled_faces import Pixels, Place, Shades, halves
from flenwheel_core.base.ids import derive_seed

Random = np.random.Generator
FINGERS = tuple(tuple(range(first, first + 4)) for first in (5, 9, 13, 17))
"""The points of the four fingers, from root to tip; the thumb is left alone."""
STRETCHED = 1.25
"""A finger is stretched if its tip lies so many times as far from the wrist as its root."""
LEAST_PX, SIZE_PX, HANDS_A_PICTURE = 40, 120, 3
"""Hands below the first are left out, those above the second made smaller."""
DIGITS_EACH = 14
"""Of ten gestures of a student at most one is used."""


def finger_mask(shape: tuple[int, ...], points: Points, finger: tuple[int, ...], from_root: float = 0.3) -> Shades:
    """A soft mask (height, width) of one finger, from a little above its root."""
    line = points[list(finger)].copy()
    line[0] += (line[1] - line[0]) * from_root
    line[-1] += (line[-1] - line[-2]) * 0.35
    wide = width_of(points, finger)
    mask = np.zeros(shape[:2], np.uint8)
    cv2.polylines(mask, [np.round(line).astype(np.int32)], False, 255, max(2, round(wide)), cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), max(0.6, wide * 0.08)), np.float32)


def width_of(points: Points, finger: tuple[int, ...]) -> float:
    """About how wide a finger is: a part of the palm's width."""
    palm = float(np.linalg.norm(points[17] - points[5]))
    return max(palm * 0.33, float(np.linalg.norm(points[finger[0]] - points[0])) * 0.2)


def stretched(points: Points) -> list[tuple[int, ...]]:
    far = np.linalg.norm(points - points[0], axis=1)
    return [finger for finger in FINGERS if far[finger[3]] > STRETCHED * far[finger[0]]]


def added(pixels: Pixels, points: Points, random: Random) -> Pixels | None:
    """One finger more: a stretched one, turned about its root and laid beside itself."""
    choices = stretched(points)
    if not choices:
        return None
    finger = choices[int(random.integers(len(choices)))]
    mask = finger_mask(pixels.shape, points, finger, 0.1)
    root = points[finger[0]] * 0.7 + points[0] * 0.3
    angle = float(random.choice([-1, 1]) * random.uniform(14, 26))
    turn = cv2.getRotationMatrix2D((float(root[0]), float(root[1])), angle, float(random.uniform(0.8, 1)))
    size = pixels.shape[1::-1]
    other, over = (
        cv2.warpAffine(one, turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for one in (pixels, mask)
    )
    return np.asarray(pixels * (1 - over[..., None]) + other * over[..., None]).astype(np.uint8)


def lost(pixels: Pixels, points: Points, random: Random) -> Pixels | None:
    """One finger less: what lies around a stretched one fills its place; sometimes a stump is left."""
    choices = stretched(points)
    if not choices:
        return None
    finger = choices[int(random.integers(len(choices)))]
    mask = finger_mask(pixels.shape, points, finger, float(random.choice([0.4, 1.2])))
    wide = max(2, round(width_of(points, finger) * 0.3))
    hole = cv2.dilate((mask > 0.2).astype(np.uint8), np.ones((wide, wide), np.uint8))
    filled = cv2.inpaint(np.ascontiguousarray(pixels), hole, 3, cv2.INPAINT_TELEA)
    soft = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), 1.5)[..., None]
    return np.asarray(pixels * (1 - soft) + filled * soft).astype(np.uint8)


def merged(pixels: Pixels, points: Points, random: Random) -> Pixels | None:
    """Two neighbouring fingers melted together: skin lies between them, and what parted them is gone."""
    pairs = [
        (one, other)
        for one, other in itertools.pairwise(FINGERS)
        if one in stretched(points) and other in stretched(points)
    ]
    if not pairs:
        return None
    one, other = pairs[int(random.integers(len(pairs)))]
    share = float(random.uniform(0.7, 1))
    first, second = points[list(one)], points[list(other)]
    ends = [line[0] + (line[-1] - line[0]) * share for line in (first, second)]
    shape = np.round(np.concatenate([first[:-1], ends[:1], ends[1:], second[-2::-1]])).astype(np.int32)
    mask = np.zeros(pixels.shape[:2], np.uint8)
    cv2.fillPoly(mask, [shape], 255)
    wide = width_of(points, one)
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), max(1, wide * 0.15))[..., None]
    # Skin of both fingers, spread into the gap.
    skin = np.maximum(finger_mask(pixels.shape, points, one), finger_mask(pixels.shape, points, other))
    reach = max(1.0, wide * 0.6)
    weight = cv2.GaussianBlur(skin**2, (0, 0), reach)[..., None] + 1e-4
    spread = cv2.GaussianBlur(pixels.astype(np.float32) * (skin**2)[..., None], (0, 0), reach) / weight
    return np.asarray(pixels * (1 - soft) + np.clip(spread, 0, 255) * soft).astype(np.uint8)


def bent(pixels: Pixels, points: Points, random: Random) -> Pixels | None:
    """A finger that is far too long, or bends like rubber."""
    choices = stretched(points)
    if not choices:
        return None
    finger = choices[int(random.integers(len(choices)))]
    tip, root = points[finger[3]], points[finger[1]]
    along = tip - root
    length = float(np.linalg.norm(along)) + 1e-6
    aside = np.array([-along[1], along[0]]) / length
    y, x = np.mgrid[0 : pixels.shape[0], 0 : pixels.shape[1]].astype(np.float32)
    place = ((x - root[0]) * along[0] + (y - root[1]) * along[1]) / length**2
    off = (x - root[0]) * aside[0] + (y - root[1]) * aside[1]
    near = np.exp(-((off / (width_of(points, finger) * 1.6)) ** 2)) * np.clip(place + 0.2, 0, 1.2)
    pull = length * float(random.uniform(0.25, 0.45)) * float(random.choice([-1, 1]))
    wave = np.sin(np.clip(place, 0, 1.3) * np.pi * float(random.uniform(1, 1.8)))
    found = cv2.remap(
        pixels,
        (x - near * pull * wave * aside[0]).astype(np.float32),
        (y - near * pull * wave * aside[1]).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(found, np.uint8)


def smeared(name: str) -> Callable[[Pixels, Points, Random], Pixels | None]:
    """The whole hand pulled about in a way in which faces are spoiled."""

    def change(pixels: Pixels, points: Points, random: Random) -> Pixels | None:
        low, high = points.min(axis=0), points.max(axis=0)
        middle, half = (low + high) / 2, float((high - low).max()) * 0.375
        left, top, right, bottom = (float(side) for side in (*(middle - half), *(middle + half)))
        return FACE_SPOILS[name](pixels, Place.of(pixels, (left, top, right, bottom)), random)

    return change


HAND_SPOILS: Mapping[str, Callable[[Pixels, Points, Random], Pixels | None]] = {
    **{name: smeared(name) for name in ("waves", "swirl", "flow", "melted", "doubled")},
    "added": added,
    "lost": lost,
    "bent": bent,
    "merged": merged,
}
HELD_OUT = ("swirl", "merged")
"""Ways that the head never learned."""


@dataclass(frozen=True)
class OneHand:
    """A hand cut out of a picture: the part around it, its points, and the square in which it is read."""

    group: str
    pixels: Pixels
    points: Points
    square: Square


def cut_out(finder: HandFinder, group: str, image: Image.Image) -> Iterator[OneHand]:
    """The hands of a picture that are large enough."""
    if max(image.size) <= 100:  # of digits: a hand alone, too near for the palm detector
        large = cv2.resize(np.asarray(image), None, fx=1.6, fy=1.6, interpolation=cv2.INTER_CUBIC)
        pixels = np.asarray(cv2.copyMakeBorder(large, 50, 50, 50, 50, cv2.BORDER_REPLICATE), np.uint8)
    else:
        pixels = np.asarray(image)
    for square in finder.squares(pixels)[:HANDS_A_PICTURE]:
        hand = finder.read(pixels, square)
        if hand.presence < 0.7 or hand.size < LEAST_PX:
            continue
        middle, half = (hand.points.min(axis=0) + hand.points.max(axis=0)) / 2, hand.size * 1.1
        left, top = (max(0, int(value)) for value in middle - half)
        part = pixels[top : int(middle[1] + half), left : int(middle[0] + half)]
        scale = min(1.0, SIZE_PX / hand.size)
        small = np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        moved = Square((square.x - left) * scale, (square.y - top) * scale, square.side * scale, square.turn)
        yield OneHand(group, small, (hand.points - (left, top)) * scale, moved)


def honest(pixels: Pixels, square: Square, random: Random) -> tuple[Pixels, Square]:
    """Mirrored, turned, toned, smaller, softer, compressed; and the square as a detector might find it then."""
    height, width = pixels.shape[:2]
    if random.random() < 0.5:
        pixels, square = pixels[:, ::-1], replace(square, x=width - square.x, turn=-square.turn)
    angle, scale = float(random.uniform(-12, 12)), float(random.uniform(0.6, 1))
    size = (round(width * scale), round(height * scale))
    into = cv2.getRotationMatrix2D((width / 2, height / 2), angle, scale)
    into[:, 2] += [(size[0] - width) / 2, (size[1] - height) / 2]
    turned = cv2.warpAffine(
        np.ascontiguousarray(pixels), into, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float32)
    toned = np.clip((turned - 128) * random.uniform(0.75, 1.2) + 128 * random.uniform(0.7, 1.25), 0, 255)
    made = toned.astype(np.uint8)
    if random.random() < 0.5:
        made = np.asarray(cv2.GaussianBlur(made, (0, 0), float(random.uniform(0.2, 1))), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(made).save(buffer, "JPEG", quality=int(random.integers(45, 95)))
    x, y = into[:, :2] @ (square.x, square.y) + into[:, 2] + random.normal(size=2) * 0.03 * square.side * scale
    side = square.side * scale * float(np.exp(random.normal() * 0.06))
    turn = square.turn - np.radians(angle) + float(random.normal() * 0.06)
    return np.asarray(Image.open(buffer).convert("RGB")), Square(float(x), float(y), side, float(turn))


def in_the_wild(photographs: Photographs, pictures: PeoplePictures, half: int) -> Iterator[tuple[str, Image.Image]]:
    """Photographs and renderings of people as people bring them: of half of the public people, and every second other picture."""
    for name in halves(photographs)[half]:
        for file in photographs.people[name]:
            yield file, photographs.open(file)
    # Pictures of one person stand side by side and are kept together: their names differ in the last number only.
    groups: dict[str, int] = {}
    for name, image in (*pictures.crowds(), *pictures.stock(), *pictures.figures()):
        group = name.rstrip("0123456789") if name.startswith("stock-emotions") else name
        if groups.setdefault(group, len(groups)) % 2 == half:
            yield name, image


def of_students(pictures: PeoplePictures, half: int) -> Iterator[tuple[str, Image.Image]]:
    """Gestures of half of the students: the first half was photographed before the second."""
    chosen = list(pictures.digits())[::DIGITS_EACH]
    middle = len(chosen) // 2
    yield from chosen[:middle] if half == 0 else chosen[middle:]


def variants(
    finder: HandFinder, images: Iterable[tuple[str, Image.Image]], good: int, kinds: Collection[str]
) -> Iterator[tuple[str, str, Pixels, Square]]:
    """Of each hand its picture's name, `good` or how it was spoiled, the part around it as it comes, and where it would be read."""
    for name, image in images:
        for number, hand in enumerate(cut_out(finder, name, image)):
            random = np.random.default_rng(derive_seed(zlib.crc32(name.encode()), "hand", number))
            made = [("good", hand.pixels)] * good
            changes = ((kind, HAND_SPOILS[kind](hand.pixels, hand.points, random)) for kind in kinds)
            for kind, pixels in (*made, *((kind, changed) for kind, changed in changes if changed is not None)):
                yield name, kind, *honest(pixels, hand.square, random)
