"""People: a bust for portraits, whole bodies in three poses."""

import math
import random
from dataclasses import replace
from itertools import pairwise

from PIL import Image

from flenwheel_core.documents.images import EXPRESSIONS
from flenwheel_core.nano.world.chance import chance_of
from flenwheel_core.nano.world.characters import CLOTHING_COLOURS, Character, Rgb, make_character
from flenwheel_core.nano.world.face import draw_face
from flenwheel_core.nano.world.hair import draw_hair_behind, draw_hair_on_skull, draw_locks
from flenwheel_core.nano.world.head import Head
from flenwheel_core.nano.world.marks import draw_chest, draw_on_head, draw_on_neck
from flenwheel_core.nano.world.pen import Pen, Point, mix, shade
from flenwheel_core.nano.world.views import YAW_DEGREES, View

BODY_TURN = 0.6
"""How much of the head's turn the body follows."""
SHOE: Rgb = (52, 42, 40)
SEAT: Rgb = (128, 88, 56)


def draw_person(character: Character, view: View, size: int) -> Image.Image:
    """The person alone, `size` pixels a side; the fourth channel is 255 where the person is, 0 elsewhere."""
    layer = Image.new("RGBX", (size, size), (0, 0, 0, 0))
    pen = Pen(layer)
    chance = chance_of(view.seed, "framing")
    if view.pose == "portrait" and view.companion is not None:
        _draw_pair(pen, character, view, size, chance)
    elif view.pose == "portrait":
        _draw_bust(pen, character, view, size, chance)
    else:
        _draw_body(pen, character, view, size, chance)
    return layer


class Garment:
    """What is worn: colour, kind, and the colours made from it."""

    def __init__(self, character: Character, view: View) -> None:
        colour, _, self.kind = (view.clothing or character.clothing).partition(" ")
        self.pattern = "none" if view.clothing not in (None, character.clothing) else character.extras.pattern
        self.colour = CLOTHING_COLOURS[colour]
        self.dark, self.edge = shade(self.colour, 0.88), shade(self.colour, 0.72)
        self.stripe = mix(self.colour, (255, 255, 255) if sum(self.colour) < 480 else (40, 40, 60), 0.6)
        self.trousers = mix(self.colour, (36, 42, 66), 0.85)


def _draw_head(pen: Pen, head: Head) -> None:
    pen.area(head.silhouette(1.0), head.skin)
    draw_hair_on_skull(pen, head)
    draw_face(pen, head)
    draw_locks(pen, head)
    draw_on_head(pen, head)


def _draw_neck(pen: Pen, head: Head, down: float) -> None:
    half = head.unit * (0.35 + 0.04 * head.character.proportions.neck)
    x = head.x + head.back * head.unit * 0.12
    lean = head.back * head.unit * 0.08
    top, bottom = head.y + 0.5 * head.unit, head.y + down * head.unit
    neck = [(x - half, top), (x + half, top), (x + half * 1.1 + lean, bottom), (x - half * 1.1 + lean, bottom)]
    pen.area(neck, head.shadow)


def _draw_pair(pen: Pen, character: Character, view: View, size: int, chance: random.Random) -> None:
    """The character on the left, its companion on the right; the companion has a face of its own."""
    assert view.companion is not None
    other = make_character(view.companion, 2)
    own = chance_of(view.seed, "companion")
    beside = View(own.choice(("front", "half-left", "half-right")), own.choice(EXPRESSIONS), seed=view.seed + 1)
    for who, shown, middle in ((other, beside, 0.74), (character, replace(view, companion=None), 0.27)):
        _draw_bust(pen, who, shown, size, chance, middle=middle, scale=0.68)


def _draw_bust(
    pen: Pen,
    character: Character,
    view: View,
    size: int,
    chance: random.Random,
    *,
    middle: float = 0.5,
    scale: float = 1.0,
) -> None:
    unit = size * 0.25 * chance.uniform(0.94, 1.06) * scale
    x = size * (middle + chance.uniform(-0.03, 0.03))
    y = size * (0.43 + chance.uniform(-0.02, 0.02))
    head = Head(character, view, x, y, unit)
    garment = Garment(character, view)
    turn = math.radians(YAW_DEGREES[view.angle]) * BODY_TURN
    facing = 0.62 + 0.38 * math.cos(turn)
    half = size * 0.4 * scale * facing * (1 + 0.06 * character.proportions.shoulders)
    top = y + unit * 1.2
    centre = x + head.back * unit * 0.2
    draw_hair_behind(pen, head)
    _draw_neck(pen, head, 1.5)
    outline: list[Point] = [(0.36, -0.06), (0.6, 0.12), (0.84, 0.34), (0.98, 0.72), (1.08, 4.0)]
    right = [(centre + half * dx, top + unit * dy) for dx, dy in outline]
    left = [(centre - half * dx, top + unit * dy) for dx, dy in outline]
    shape = right[::-1] + left
    pen.area(shape, garment.colour)
    if garment.kind == "striped shirt":
        _draw_stripes(pen, garment, top, unit, [(centre, half, outline)], size)
    for side in (-1, 1):
        crease = [(centre + side * half * 0.74, top + unit * 0.95), (centre + side * half * 0.8, size + 4.0)]
        pen.line(crease, garment.edge, unit * 0.035)
    draw_chest(pen, garment.pattern, garment.stripe, (centre, top, half, unit), facing, math.sin(turn))
    _draw_collar(pen, head, garment, centre + head.sin * unit * 0.1, top, facing)
    draw_on_neck(pen, head, centre + head.sin * unit * 0.1, top, facing)
    _draw_head(pen, head)


def _draw_stripes(
    pen: Pen, garment: Garment, top: float, unit: float, body: list[tuple[float, float, list[Point]]], size: int
) -> None:
    """Level stripes that follow the outline's width."""
    middle, half, outline = body[0]
    for stripe in range(8):
        upper, lower = 0.26 + 0.36 * stripe, 0.42 + 0.36 * stripe
        if top + upper * unit > size:
            return
        first, last = half * _reach(outline, upper), half * _reach(outline, lower)
        y0, y1 = top + upper * unit, top + lower * unit
        pen.area([(middle - first, y0), (middle + first, y0), (middle + last, y1), (middle - last, y1)], garment.stripe)


def _reach(outline: list[Point], height: float) -> float:
    """Half width of an outline at a height, between its points."""
    for (x0, y0), (x1, y1) in pairwise(outline):
        if y0 <= height <= y1:
            return x0 + (x1 - x0) * (height - y0) / (y1 - y0)
    return outline[-1][0]


def _draw_collar(pen: Pen, head: Head, garment: Garment, x: float, top: float, facing: float) -> None:
    unit = head.unit
    pen.oval(x, top - unit * 0.02, unit * 0.45 * facing, unit * 0.27, head.shadow)
    if garment.kind == "hoodie":
        pen.arc(x, top + unit * 0.04, unit * 0.6 * facing, unit * 0.4, -12, 192, garment.edge, unit * 0.2)
        for side in (-1, 1):
            cord = [
                (x + side * unit * 0.2 * facing, top + unit * 0.4),
                (x + side * unit * 0.22 * facing, top + unit * 0.85),
            ]
            pen.line(cord, (240, 240, 240), unit * 0.05)
    elif garment.kind == "collared shirt":
        light = mix(garment.colour, (255, 255, 255), 0.3)
        flap = [(0.46, -0.1), (0.0, 0.3), (0.4, 0.5), (0.64, 0.1)]
        for side in (-1, 1):
            pen.area([(x + side * unit * dx * facing, top + unit * dy) for dx, dy in flap], light)
        pen.line([(x, top + unit * 0.32), (x, top + unit * 3)], garment.edge, unit * 0.04)
        for button in (0.7, 1.1):
            pen.oval(x, top + unit * button, unit * 0.045, unit * 0.045, light)
    else:
        pen.arc(x, top - unit * 0.02, unit * 0.47 * facing, unit * 0.29, 0, 180, garment.edge, unit * 0.075)


def _draw_body(pen: Pen, character: Character, view: View, size: int, chance: random.Random) -> None:
    sitting = view.pose == "sitting"
    unit = size * 0.118
    x = size * (0.5 + chance.uniform(-0.02, 0.02))
    y = size * (0.3 if sitting else 0.2)
    head = Head(character, view, x, y, unit)
    garment = Garment(character, view)
    turn = math.radians(YAW_DEGREES[view.angle]) * BODY_TURN
    facing, forward = math.cos(turn), math.sin(turn)
    half = size * 0.122 * (0.62 + 0.38 * facing) * (1 + 0.06 * character.proportions.shoulders)
    top, hip, foot = y + unit * 1.18, y + unit * 3.35, size * 0.95
    middle = x + head.back * unit * 0.12
    draw_hair_behind(pen, head)
    _draw_neck(pen, head, 1.35)
    if sitting:
        _draw_seated_legs(pen, garment, (middle, hip, foot), unit, forward)
    else:
        for side in (-1, 1):
            leg = middle + side * unit * 0.42 * (0.62 + 0.38 * facing)
            pen.limb([(leg, hip), (leg + side * unit * 0.05, foot - unit * 0.22)], garment.trousers, unit * 0.66)
            _draw_shoe(pen, leg + side * unit * 0.05, foot, unit, forward)
    outline: list[Point] = [(0.5, -0.06), (1.0, 0.26), (0.9, 1.2), (0.86, 2.4)]
    right = [(middle + half * dx, top + unit * dy) for dx, dy in outline]
    left = [(middle - half * dx, top + unit * dy) for dx, dy in outline]
    if view.pose != "sitting":
        _draw_arms(pen, head, garment, view, (middle, top, hip, half), facing)
    pen.area(right[::-1] + left, garment.colour)
    if garment.kind == "striped shirt":
        for stripe in range(4):
            y0, y1 = 0.4 + 0.5 * stripe, 0.62 + 0.5 * stripe
            first, last = half * _reach(outline, y0), half * _reach(outline, y1)
            corners = [(-first, y0), (first, y0), (last, y1), (-last, y1)]
            pen.area([(middle + dx, top + unit * dy) for dx, dy in corners], garment.stripe)
    draw_chest(pen, garment.pattern, garment.stripe, (middle, top, half, unit * 0.8), facing, forward, rows=3)
    if sitting:
        _draw_arms(pen, head, garment, view, (middle, top, hip, half), facing)
    _draw_collar(pen, head, garment, middle + forward * unit * 0.1, top, 0.62 + 0.38 * facing)
    draw_on_neck(pen, head, middle + forward * unit * 0.1, top, 0.62 + 0.38 * facing)
    _draw_head(pen, head)


def _draw_shoe(pen: Pen, x: float, foot: float, unit: float, forward: float) -> None:
    pen.oval(x + forward * unit * 0.24, foot - unit * 0.18, unit * (0.38 + 0.1 * abs(forward)), unit * 0.2, SHOE)


def _draw_seated_legs(
    pen: Pen, garment: Garment, place: tuple[float, float, float], unit: float, forward: float
) -> None:
    middle, hip, foot = place
    seat = hip + unit * 0.15
    pen.box(middle - unit * 1.45, seat, middle + unit * 1.45, seat + unit * 0.42, SEAT)
    for side in (-1, 1):
        leg = middle + side * unit * 1.2
        pen.box(leg - unit * 0.14, seat + unit * 0.4, leg + unit * 0.14, foot, shade(SEAT, 0.76))
    for side in (-1, 1):
        knee = (middle + side * unit * 0.5 + forward * unit * 1.3, hip + unit * 0.16)
        ankle = (knee[0] + forward * unit * 0.08, foot - unit * 0.24)
        shade_factor = 1.0 if side * forward >= 0 else 0.86
        pen.limb([(middle + side * unit * 0.34, hip), knee, ankle], shade(garment.trousers, shade_factor), unit * 0.64)
        _draw_shoe(pen, ankle[0], foot, unit, forward)


def _draw_arms(
    pen: Pen, head: Head, garment: Garment, view: View, place: tuple[float, float, float, float], facing: float
) -> None:
    middle, top, hip, half = place
    unit = head.unit
    forward = math.sin(math.radians(YAW_DEGREES[view.angle]) * BODY_TURN)
    for side in (-1, 1):
        shoulder = (middle + side * half * 0.84, top + unit * 0.36)
        if view.pose == "t-pose":
            reach = unit * 2.35 * facing
            y = top + unit * 0.38
            elbow, hand = (middle + side * (half + reach * 0.5), y), (middle + side * (half + reach), y)
        elif view.pose == "sitting":
            elbow = (shoulder[0] + side * unit * 0.2, top + unit * 1.35)
            hand = (middle + side * unit * 0.42 + forward * unit * 0.9, hip - unit * 0.08)
        else:
            elbow = (shoulder[0] + side * unit * 0.22, top + unit * 1.3)
            hand = (shoulder[0] + side * unit * 0.24 + forward * unit * 0.2, top + unit * 2.3)
        pen.oval(*hand, unit * 0.25, unit * 0.25, head.skin)
        wrist = (elbow[0] + (hand[0] - elbow[0]) * 0.82, elbow[1] + (hand[1] - elbow[1]) * 0.82)
        pen.limb([shoulder, elbow, wrist], garment.dark, unit * 0.42)
