"""Light and drawing style, applied to the drawn layers."""

import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flenwheel_core.nano.world.chance import chance_of
from flenwheel_core.nano.world.views import View

Pixels = NDArray[np.float32]
"""(height, width, channels), 0 to 255."""

TINTS = {"day": (1.02, 1.02, 1.0), "sunset": (1.1, 0.88, 0.7), "night": (0.5, 0.56, 0.86), "studio": (1.05, 1.04, 1.04)}
NIGHT_FACE_TINT = (0.72, 0.76, 0.97)
"""People stay readable at night."""
SIDE_LIGHT = {"day": 0.08, "sunset": 0.2, "night": 0.16, "studio": 0.12}
PAPER = np.array((246, 242, 232), np.float32)


def lit(person: Pixels, place: Pixels, view: View) -> Pixels:
    """The person in front of the place, both in the view's light.

    The person's fourth channel is its cover; its colours are already multiplied by it, as scaling down leaves them.
    """
    size = person.shape[0]
    x = np.linspace(-1, 1, size, dtype=np.float32)[None, :, None]
    y = np.linspace(-1, 1, size, dtype=np.float32)[:, None, None]
    side = chance_of(view.seed, "light").choice((-1, 1))
    tint = np.array(TINTS[view.lighting], np.float32)
    on_person = np.array(NIGHT_FACE_TINT, np.float32) if view.lighting == "night" else tint
    light = 1 + SIDE_LIGHT[view.lighting] * side * np.clip(2 * x, -1, 1) - 0.05 * y
    if view.background == "studio" and view.lighting == "studio":
        place = place * (1.1 - 0.18 * (x**2 + y**2))
    elif view.background != "night city":
        place = place * tint
    alpha = person[..., 3:] / 255
    return np.asarray(person[..., :3] * light * on_person + place * (1 - alpha), np.float32)


def styled(pixels: Pixels, view: View) -> Pixels:
    """The picture in the view's drawing style."""
    match view.style:
        case "sketch":
            return _sketch(pixels)
        case "flat":
            return _flat(pixels)
        case "watercolor":
            return _watercolor(pixels, chance_of(view.seed, "paper"))
        case _:
            return pixels


def _edges(pixels: Pixels) -> Pixels:
    """How strongly neighbours differ, 0 to 1, (height, width, 1)."""
    across = np.abs(np.diff(pixels, axis=1, append=pixels[:, -1:]))
    down = np.abs(np.diff(pixels, axis=0, append=pixels[-1:]))
    strength = np.maximum(across.max(-1, keepdims=True), down.max(-1, keepdims=True))
    return np.asarray(np.clip((strength - 10) / 50, 0, 1), np.float32)


def _blurred(pixels: Pixels, steps: int) -> Pixels:
    for _ in range(steps):
        padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")
        total = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] + 2 * padded[1:-1, 1:-1]
        pixels = np.asarray(total / 6, np.float32)
    return pixels


def _sketch(pixels: Pixels) -> Pixels:
    """Pencil lines on paper over a thin wash of colour."""
    size = pixels.shape[0]
    wash = PAPER * (1 - 0.5) + np.clip(pixels, 0, 255) * 0.5
    rows, columns = np.mgrid[0:size, 0:size]
    hatching = ((rows + columns) * 128 // size % 5 == 0)[..., None]
    dark = np.clip((150 - pixels.mean(-1, keepdims=True)) / 150, 0, 1)
    wash = wash - 42 * hatching * dark
    return np.asarray(wash * (1 - 0.75 * _edges(pixels)), np.float32)


def _flat(pixels: Pixels) -> Pixels:
    """Few, strong colours without gradients."""
    grey = pixels.mean(-1, keepdims=True)
    vivid = np.clip(grey + (pixels - grey) * 1.25, 0, 255)
    return np.asarray(np.floor(vivid / 43) * 43 + 21, np.float32)


def _watercolor(pixels: Pixels, chance: random.Random) -> Pixels:
    """Soft colours on grainy paper, darker where a wash ends."""
    size = pixels.shape[0]
    generator = np.random.default_rng(chance.getrandbits(63))
    coarse = Image.fromarray(generator.normal(size=(16, 16)).astype(np.float32))
    blooms = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))[..., None]
    soft = _blurred(pixels, 2)
    paint = PAPER * 0.22 + soft * 0.78 + 8 * blooms
    return np.asarray(paint * (1 - 0.3 * _edges(soft)), np.float32)
