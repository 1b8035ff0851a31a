"""What is behind the person: seven places, laid out by the view's seed."""

import random
from collections.abc import Callable

import numpy as np
from PIL import Image

from flenwheel_core.nano.world.chance import chance_of
from flenwheel_core.nano.world.characters import Rgb
from flenwheel_core.nano.world.pen import Pen, shade
from flenwheel_core.nano.world.views import View

SKIES: dict[str, tuple[Rgb, Rgb]] = {
    "day": ((110, 178, 236), (206, 232, 248)),
    "studio": ((110, 178, 236), (206, 232, 248)),
    "sunset": ((112, 96, 160), (250, 168, 96)),
    "night": ((26, 30, 66), (60, 62, 108)),
}


def draw_backdrop(view: View, size: int) -> Image.Image:
    """The place without the person. Another place with the same seed keeps the horizon."""
    horizon = size * chance_of(view.seed, "horizon").uniform(0.5, 0.62)
    chance = chance_of(view.seed, "backdrop", view.background)
    if view.background == "studio":
        grey = chance.choice(((176, 178, 184), (196, 190, 182), (160, 170, 182)))
        return _gradient(size, [(0, shade(grey, 0.86)), (0.6, grey), (1, shade(grey, 0.74))])
    if view.background == "night city":
        image = _gradient(size, [(0, (12, 14, 40)), (1, (60, 40, 84))])
        _draw_night_city(Pen(image), size, chance)
    else:
        upper, lower = SKIES[view.lighting]
        image = _gradient(size, [(0, upper), (horizon / size, lower), (1, lower)])
        _PLACES[view.background](Pen(image), size, horizon, chance, view.lighting)
    return image


def _gradient(size: int, stops: list[tuple[float, Rgb]]) -> Image.Image:
    heights = np.linspace(0, 1, size)
    places = [place for place, _ in stops]
    columns = [np.interp(heights, places, [colour[channel] for _, colour in stops]) for channel in range(3)]
    column = np.stack(columns, axis=-1).astype(np.uint8)
    return Image.fromarray(column[:, None]).resize((size, size), Image.Resampling.NEAREST)


def _draw_forest(pen: Pen, size: int, horizon: float, chance: random.Random, lighting: str) -> None:
    pen.box(0, horizon, size, size, (92, 128, 62))
    for front in (False, True):
        for tree in range(7):
            x = size * (tree / 6 + chance.uniform(-0.06, 0.06))
            height = size * chance.uniform(0.4, 0.62) * (1 if front else 0.8)
            ground = horizon + size * (0.08 if front else 0.02)
            green = shade((40, 104, 56), chance.uniform(0.75, 1.2) * (1 if front else 1.25))
            pen.box(x - size * 0.015, ground - height * 0.3, x + size * 0.015, ground, (84, 58, 38))
            for level in range(3):
                base, half = ground - height * (0.22 + 0.25 * level), size * (0.105 - 0.025 * level)
                tier = [(x - half, base), (x + half, base), (x, base - height * 0.34)]
                pen.area(tier, shade(green, 1 + 0.08 * level))


def _draw_beach(pen: Pen, size: int, horizon: float, chance: random.Random, lighting: str) -> None:
    sun: Rgb = (236, 236, 220) if lighting == "night" else (255, 240, 170)
    x = chance.choice((0.17, 0.83))
    pen.oval(size * x, size * 0.15, size * 0.07, size * 0.07, sun)
    pen.box(0, horizon - size * 0.05, size, size, (48, 138, 178))
    for _ in range(4):
        left, y = size * chance.uniform(0, 0.8), horizon + size * chance.uniform(-0.02, 0.08)
        pen.box(left, y, left + size * 0.14, y + size * 0.008, (112, 184, 206))
    pen.box(0, horizon + size * 0.1, size, horizon + size * 0.125, (240, 246, 246))
    pen.box(0, horizon + size * 0.12, size, size, (232, 208, 150))


def _draw_urban(pen: Pen, size: int, horizon: float, chance: random.Random, lighting: str) -> None:
    street = horizon + size * 0.2
    for house in range(6):
        left = size * (house / 6 + chance.uniform(-0.03, 0.03))
        roof = street - size * chance.uniform(0.3, 0.66)
        wall = shade(chance.choice(((168, 128, 112), (140, 146, 158), (186, 170, 146))), chance.uniform(0.85, 1.1))
        window: Rgb = (244, 206, 120) if lighting == "night" else shade(wall, 0.62)
        pen.box(left, roof, left + size * 0.18, street, wall)
        for column in range(3):
            for row in range(5):
                x, y = left + size * (0.02 + 0.055 * column), roof + size * (0.03 + 0.085 * row)
                pen.box(x, y, x + size * 0.03, min(y + size * 0.045, street), window)
    pen.box(0, street, size, size, (110, 110, 114))
    pen.box(0, street, size, street + size * 0.03, (170, 170, 168))


def _draw_mountain(pen: Pen, size: int, horizon: float, chance: random.Random, lighting: str) -> None:
    foot = horizon + size * 0.1
    ranges: tuple[tuple[Rgb, float], ...] = (((124, 142, 170), 0.42), ((96, 114, 138), 0.3))
    for rock, scale in ranges:
        for peak in range(4):
            x, height = size * (peak / 3 + chance.uniform(-0.1, 0.1)), size * scale * chance.uniform(0.7, 1.1)
            pen.area([(x - height * 0.9, foot), (x + height * 0.9, foot), (x, foot - height)], rock)
            snow_line = foot - height * 0.7
            snow = [(x - height * 0.27, snow_line), (x - height * 0.08, snow_line - height * 0.06), (x, snow_line)]
            snow += [(x + height * 0.1, snow_line - height * 0.05), (x + height * 0.27, snow_line), (x, foot - height)]
            pen.area(snow, (244, 248, 252))
    pen.box(0, foot, size, size, (116, 146, 96))


def _draw_desert(pen: Pen, size: int, horizon: float, chance: random.Random, lighting: str) -> None:
    pen.box(0, horizon, size, size, (222, 178, 110))
    for dune in range(3):
        x = size * chance.uniform(0, 1)
        y = horizon + size * (0.23 + 0.08 * dune)
        pen.oval(x, y, size * 0.5, size * 0.27 - dune * size * 0.04, shade((226, 184, 116), 1 - 0.07 * dune))
    green: Rgb = (70, 122, 72)
    for _ in range(2):
        x, thick = size * chance.choice((0.1, 0.16, 0.84, 0.9)), size * 0.036
        base, top = horizon + size * 0.1, horizon - size * 0.15
        pen.limb([(x, base), (x, top)], green, thick)
        for side, height in ((1, 0.05), (-1, 0.01)):
            arm = [(x, horizon - size * height), (x + side * size * 0.05, horizon - size * height)]
            arm.append((arm[1][0], horizon - size * (height + 0.08)))
            pen.limb(arm, green, thick * 0.8)


def _draw_night_city(pen: Pen, size: int, chance: random.Random) -> None:
    pen.oval(size * chance.choice((0.14, 0.84)), size * 0.12, size * 0.06, size * 0.06, (244, 238, 206))
    for house in range(7):
        left, height = size * (house / 7 + chance.uniform(-0.02, 0.02)), size * chance.uniform(0.3, 0.75)
        pen.box(
            left, size - height, left + size * 0.15, size, chance.choice(((26, 26, 48), (34, 32, 58), (20, 22, 40)))
        )
        for _ in range(9):
            x, y = left + size * chance.uniform(0.01, 0.12), size - height + chance.uniform(0.05, 0.9) * height
            light: Rgb = chance.choice(((250, 214, 110), (240, 170, 90), (130, 200, 240)))
            pen.box(x, y, x + size * 0.02, y + size * 0.03, light)


_PLACES: dict[str, Callable[[Pen, int, float, random.Random, str], None]] = {
    "forest": _draw_forest,
    "beach": _draw_beach,
    "urban": _draw_urban,
    "mountain": _draw_mountain,
    "desert": _draw_desert,
}
