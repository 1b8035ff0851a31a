"""Paintings: pictures of the nano world, repainted stroke by stroke by painters who each have a hand of their own.

A painter is a function of a seed, like a character. What the words of the impressionists ask for is there in numbers: short strokes of
pure colour side by side, shadows of a colour instead of black, effect before detail. No base was trained on any painter.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flenwheel_core.nano.world.chance import chance_of

OVERSAMPLING = 2
FIRST_LAYER = 1.6
"""Strokes of the first layer are as many times as long and wide as those of the second."""
SHADOW_BELOW = 55.0
"""L* under which a painter's shadow colour sets in."""
Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Painter:
    """A painter's hand. Lengths are in pixels of a picture of 128."""

    seed: int
    stroke_length: float
    stroke_width: float
    direction: float
    """Of strokes where the picture gives none, radians."""
    follows: float
    """How much strokes follow what is painted, 0 to 1."""
    broken: float
    """How far neighbouring strokes part in hue, radians (standard deviation)."""
    chroma: float
    """Factor on the colours' strength."""
    darkest: float
    """The L* that black becomes."""
    shadow: tuple[float, float]
    """(a*, b*) that shadows lean to."""
    light: tuple[float, float]
    """(a*, b*) that lights lean to."""


def make_painter(seed: int) -> Painter:
    """The painter of a seed."""
    chance = chance_of(seed, "painter")
    shadow, light = chance.uniform(3.9, 5.6), chance.uniform(0.4, 1.9)  # blues, violets, greens; oranges, yellows
    return Painter(
        seed=seed,
        stroke_length=chance.uniform(5.0, 9.0),
        stroke_width=chance.uniform(1.5, 2.4),
        direction=chance.uniform(0, np.pi),
        follows=chance.uniform(0.2, 0.8),
        broken=chance.uniform(0.25, 0.5),
        chroma=chance.uniform(1.15, 1.6),
        darkest=chance.uniform(20, 32),
        shadow=(float(34 * np.cos(shadow)), float(34 * np.sin(shadow))),
        light=(float(26 * np.cos(light)), float(26 * np.sin(light))),
    )


def paint(picture: Image.Image, painter: Painter, seed: int) -> Image.Image:
    """The picture as this painter paints it, of the same size. The same arguments give the same painting everywhere."""
    rgb = np.asarray(picture.convert("RGB"), np.float32) / 255
    lab = _coloured(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), painter)
    scale = max(picture.size) / 128
    angles, strength = _directions(lab, painter, scale)
    generator = np.random.default_rng(chance_of(seed, "strokes", painter.seed).getrandbits(63))
    soft = cv2.GaussianBlur(lab, (0, 0), painter.stroke_width * scale * 0.6)
    canvas = _rgb(soft).repeat(OVERSAMPLING, 0).repeat(OVERSAMPLING, 1).copy()
    for layer, size in enumerate((FIRST_LAYER, 1.0)):
        length, width = painter.stroke_length * size * scale, painter.stroke_width * size * scale
        places = _places(lab.shape[:2], width, generator)
        if layer:  # detail only where there is something to tell
            places = places[strength[places[:, 1], places[:, 0]] + generator.random(len(places)) > 0.45]
        colours = _broken(soft[places[:, 1], places[:, 0]], painter, generator)
        _stroke(canvas, places, angles[places[:, 1], places[:, 0]], colours, length, width)
    return Image.fromarray(canvas).resize(picture.size, Image.Resampling.BOX)


def _coloured(lab: Pixels, painter: Painter) -> Pixels:
    """The painter's palette: no black, coloured shadows, warm or cool lights, (height, width, 3) L*a*b*."""
    light = lab[..., :1] / 100
    shade = np.clip(1 - lab[..., :1] / SHADOW_BELOW, 0, 1)
    shine = np.clip((lab[..., :1] - SHADOW_BELOW) / (100 - SHADOW_BELOW), 0, 1)
    colour = lab[..., 1:] * painter.chroma
    colour = colour * (1 - 0.75 * shade) + np.array(painter.shadow, np.float32) * 0.75 * shade
    colour = colour * (1 - 0.35 * shine) + np.array(painter.light, np.float32) * 0.35 * shine
    value = painter.darkest + (96 - painter.darkest) * light
    return np.concatenate([value, colour], axis=-1).astype(np.float32)


def _directions(lab: Pixels, painter: Painter, scale: float) -> tuple[Pixels, Pixels]:
    """The angle of a stroke at each place, and how much there is to tell there, 0 to 1; (height, width)."""
    light = cv2.GaussianBlur(lab[..., 0], (0, 0), 1.2 * scale)
    across, down = cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)
    products = [cv2.GaussianBlur(one, (0, 0), 2.5 * scale) for one in (across * across, down * down, across * down)]
    along = 0.5 * np.arctan2(2 * products[2], products[0] - products[1]) + np.pi / 2
    strength = np.clip(np.sqrt(products[0] + products[1]) / 30, 0, 1)
    weight = painter.follows * strength
    doubled = (1 - weight) * np.exp(2j * painter.direction) + weight * np.exp(2j * along)
    return np.asarray(np.angle(doubled) / 2, np.float32), np.asarray(strength, np.float32)


def _places(shape: tuple[int, ...], width: float, generator: np.random.Generator) -> NDArray[np.int64]:
    """Where strokes lie, (number, 2) as x and y, in the order in which they are painted."""
    step = max(1.0, width * 0.8)
    rows, columns = np.mgrid[0 : shape[0] : step, 0 : shape[1] : step]
    places = np.stack([columns.ravel(), rows.ravel()], 1) + generator.uniform(-step, step, (rows.size, 2))
    places = np.clip(places, 0, np.array([shape[1] - 1, shape[0] - 1]))
    return np.asarray(generator.permutation(places), np.int64)


def _broken(colours: Pixels, painter: Painter, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Strokes part from what they paint in hue and a little in light; (number, 3) RGB."""
    turn = generator.normal(0, painter.broken, len(colours)).astype(np.float32)
    cos, sin = np.cos(turn), np.sin(turn)
    a, b = colours[:, 1], colours[:, 2]
    value = colours[:, 0] + generator.normal(0, 3.0, len(colours))
    mixed = np.stack([value, a * cos - b * sin, a * sin + b * cos], 1).astype(np.float32)
    return np.asarray(_rgb(mixed[None])[0], np.uint8)


def _rgb(lab: Pixels) -> NDArray[np.uint8]:
    return np.asarray(np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255, 0, 255), np.uint8)


def _stroke(
    canvas: NDArray[np.uint8],
    places: NDArray[np.int64],
    angles: Pixels,
    colours: NDArray[np.uint8],
    length: float,
    width: float,
) -> None:
    reach = np.stack([np.cos(angles), np.sin(angles)], 1) * (length / 2)
    starts = np.rint((places - reach) * OVERSAMPLING).astype(int)
    ends = np.rint((places + reach) * OVERSAMPLING).astype(int)
    thick = max(1, round(width * OVERSAMPLING))
    for start, end, colour in zip(starts.tolist(), ends.tolist(), colours.tolist(), strict=True):
        cv2.line(canvas, start, end, colour, thick, cv2.LINE_AA)
