"""Drawing what world 2 adds: marks on the face, patterns on the chest, things worn on head and neck."""

import math
from collections.abc import Sequence

from flenwheel_core.nano.world.characters import Rgb
from flenwheel_core.nano.world.extras import PLACES, WORN_COLOURS, Mark
from flenwheel_core.nano.world.hair import VOLUME
from flenwheel_core.nano.world.head import Head
from flenwheel_core.nano.world.pen import Pen, Point, mix, shade

INK: Rgb = (40, 60, 150)
PLASTER: Rgb = (246, 222, 180)
STAIN: Rgb = (150, 44, 70)
PAINTS: tuple[Rgb, ...] = ((230, 60, 60), (60, 190, 210), (250, 220, 70))


def draw_marks(pen: Pen, head: Head) -> None:
    """The marks that face the viewer."""
    for mark in head.character.extras.marks:
        side = 1 if mark.side == "left" else -1
        azimuth, height = PLACES[mark.place]
        azimuth, height = side * (azimuth + 4 * mark.shift), height + 0.05 * mark.size
        facing = head.facing(azimuth)
        if facing > 0.12:
            _draw_mark(pen, head, mark, head.at(azimuth, height), facing, side)


def _draw_mark(pen: Pen, head: Head, mark: Mark, place: Point, facing: float, side: int) -> None:
    (x, y), unit, narrow = place, head.unit * (1 + 0.25 * mark.size), max(0.4, facing)
    match mark.kind:
        case "mole":
            pen.oval(x, y, unit * 0.065 * narrow, unit * 0.065, shade(head.skin, 0.28))
        case "birthmark":
            pen.oval(x, y, unit * 0.17 * narrow, unit * 0.12, mix(head.skin, STAIN, 0.5))
            pen.oval(
                x + side * unit * 0.08 * narrow,
                y + unit * 0.08,
                unit * 0.1 * narrow,
                unit * 0.09,
                mix(head.skin, STAIN, 0.5),
            )
        case "tattoo":
            pen.area(star(x, y, unit * 0.17, narrow), INK if sum(head.skin) > 330 else (130, 220, 230))
        case "plaster":
            lean = side * unit * 0.1 * narrow
            pen.stroke(
                [(x - lean * 1.6, y - unit * 0.08), (x + lean * 1.6, y + unit * 0.08)], shade(PLASTER, 0.8), unit * 0.17
            )
            pen.stroke([(x - lean * 1.6, y - unit * 0.08), (x + lean * 1.6, y + unit * 0.08)], PLASTER, unit * 0.12)
        case _:
            colour = PAINTS[int((mark.shift + 1) * 1.499)]
            for line in (-0.07, 0.07):
                pen.stroke(
                    [(x - unit * 0.12 * narrow, y + unit * line), (x + unit * 0.12 * narrow, y + unit * line)],
                    colour,
                    unit * 0.075,
                )


def star(x: float, y: float, radius: float, narrow: float = 1.0) -> list[Point]:
    """Five points around a centre."""
    points = []
    for step in range(10):
        reach = radius if step % 2 == 0 else radius * 0.42
        angle = math.pi * (step / 5 - 0.5)
        points.append((x + math.cos(angle) * reach * narrow, y + math.sin(angle) * reach))
    return points


def draw_chest(
    pen: Pen,
    pattern: str,
    colour: Rgb,
    place: tuple[float, float, float, float],
    facing: float,
    forward: float,
    rows: int = 3,
) -> None:
    """A pattern on the clothes; `place` is the middle, the collar's height, half the width and a unit of length."""
    if pattern == "none":
        return
    middle, top, half, unit = place
    middle += forward * half * 0.25
    reach = half * 0.62 * max(facing, 0.4)
    heights = [top + unit * (0.62 + 0.44 * row) for row in range(rows)]
    columns = [middle + reach * step for step in (-1, -0.5, 0, 0.5, 1)]
    match pattern:
        case "dotted":
            for row, y in enumerate(heights):
                for x in columns[row % 2 :: 2]:
                    pen.oval(x, y, unit * 0.11 * max(facing, 0.5), unit * 0.11, colour)
        case "checked":
            for x in columns[::2]:
                pen.line([(x, heights[0] - unit * 0.2), (x, heights[-1] + unit * 0.3)], colour, unit * 0.09)
            for y in heights:
                pen.line([(columns[0] - reach * 0.2, y), (columns[-1] + reach * 0.2, y)], colour, unit * 0.09)
        case "zigzag":
            for y in heights[:2]:
                pen.line([(x, y + unit * 0.13 * (-1) ** step) for step, x in enumerate(columns)], colour, unit * 0.1)
        case _:
            # The character's left is on the viewer's right.
            x, y = middle + reach * 0.72, top + unit * 0.75
            pen.area(
                star(x, y, unit * 0.25, facing) if pattern == "star" else _heart(x, y, unit * 0.24, facing), colour
            )


def _heart(x: float, y: float, size: float, narrow: float) -> Sequence[Point]:
    shape = (
        (0, 0.9),
        (-0.9, -0.1),
        (-0.8, -0.65),
        (-0.35, -0.75),
        (0, -0.35),
        (0.35, -0.75),
        (0.8, -0.65),
        (0.9, -0.1),
    )
    return [(x + dx * size * narrow, y + dy * size) for dx, dy in shape]


def draw_on_neck(pen: Pen, head: Head, x: float, top: float, facing: float) -> None:
    """A scarf or a necklace."""
    worn, colour, unit = head.character.extras.worn, WORN_COLOURS[head.character.extras.worn_colour], head.unit
    if worn == "scarf":
        pen.arc(x, top - unit * 0.1, unit * 0.56 * facing, unit * 0.36, -15, 195, colour, unit * 0.26)
        pen.limb(
            [(x - unit * 0.34 * facing, top + unit * 0.2), (x - unit * 0.42 * facing, top + unit * 0.85)],
            shade(colour, 0.85),
            unit * 0.24,
        )
    elif worn == "necklace":
        pen.arc(x, top - unit * 0.02, unit * 0.5 * facing, unit * 0.58, 10, 170, shade(colour, 0.9), unit * 0.07)
        pen.oval(x, top + unit * 0.56, unit * 0.13, unit * 0.13, colour)


def draw_on_head(pen: Pen, head: Head) -> None:
    """A cap, a headband, headphones or a flower behind one ear."""
    extras, unit = head.character.extras, head.unit
    colour = WORN_COLOURS[extras.worn_colour]
    scale = VOLUME.get(head.character.hair, 1.0) + 0.04
    if extras.worn == "cap":
        pen.area(head.silhouette(scale, -1.0, -0.5), colour)
        brim = head.x + head.sin * head.width * 0.75
        y = head.y - unit * 0.52
        pen.area(
            [
                (brim - unit * 0.62, y),
                (brim + unit * 0.62, y),
                (brim + unit * 0.5, y + unit * 0.13),
                (brim - unit * 0.5, y + unit * 0.13),
            ],
            shade(colour, 0.72),
        )
    elif extras.worn == "headband":
        pen.area(head.silhouette(scale, -0.66, -0.48), colour)
    elif extras.worn == "headphones":
        pen.arc(
            head.x, head.y - unit * 0.02, head.width * (scale + 0.06), unit * 1.13, 180, 360, (50, 50, 56), unit * 0.1
        )
        for side in (-1, 1):
            if head.facing(side * 90) > -0.35:
                x, y = head.at(side * 90, 0.04)
                pen.oval(x, y, unit * (0.15 + 0.1 * max(0.0, head.facing(side * 90))), unit * 0.26, colour)
    elif extras.worn == "flower":
        side = 1 if extras.worn_side == "left" else -1
        if head.facing(side * 70) > -0.2:
            x, y = head.at(side * 68, -0.42)
            for step in range(5):
                angle = 2 * math.pi * step / 5
                pen.oval(
                    x + math.cos(angle) * unit * 0.13,
                    y + math.sin(angle) * unit * 0.13,
                    unit * 0.11,
                    unit * 0.11,
                    colour,
                )
            pen.oval(
                x, y, unit * 0.09, unit * 0.09, (250, 214, 90) if extras.worn_colour != "yellow" else (150, 80, 40)
            )
