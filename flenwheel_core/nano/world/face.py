"""The face: ears, beard, nose, eyes, brows, mouth, marks and glasses."""

import math

from flenwheel_core.nano.world.chance import chance_of
from flenwheel_core.nano.world.characters import EYE_COLOURS, Rgb
from flenwheel_core.nano.world.hair import COVERS_EARS
from flenwheel_core.nano.world.head import Head
from flenwheel_core.nano.world.marks import draw_marks
from flenwheel_core.nano.world.pen import WHITE, Pen, Point, mix, shade

EYE_HEIGHT = -0.04
MOUTH_HEIGHT = 0.6
EYE_OPENING = {"neutral": 0.62, "smiling": 0.5, "angry": 0.46, "sad": 0.55}
BROW_HEIGHTS = {"neutral": (-0.29, -0.28), "smiling": (-0.35, -0.32), "angry": (-0.15, -0.38), "sad": (-0.43, -0.22)}
"""Inner and outer end."""
MOUTH_CURVE = {"neutral": 0.0, "smiling": 0.15, "angry": -0.09, "sad": -0.15}
BROW_WIDTH = {"thin": 0.045, "thick": 0.085, "bushy": 0.13}
UNNATURAL_HAIR = ("blue", "pink", "green")
GOLD: Rgb = (244, 206, 72)
FRAME: Rgb = (36, 34, 40)


def draw_face(pen: Pen, head: Head) -> None:
    """Everything on the face, from behind to the front."""
    _draw_blush(pen, head)
    _draw_ears(pen, head)
    _draw_beard(pen, head)
    _draw_nose(pen, head)
    for side in (-1, 1):
        _draw_eye(pen, head, side)
        _draw_brow(pen, head, side)
    _draw_moustache(pen, head)
    _draw_mouth(pen, head)
    _draw_marks(pen, head)
    draw_marks(pen, head)
    _draw_glasses(pen, head)


def _eye_azimuth(head: Head) -> float:
    return 27 + 3.5 * head.character.proportions.eye_spacing


def _eye_size(head: Head) -> float:
    return head.unit * (0.16 + 0.022 * head.character.proportions.eye_size)


def _draw_blush(pen: Pen, head: Head) -> None:
    for side in (-1, 1):
        facing = head.facing(side * 38)
        if facing > 0.15:
            x, y = head.at(side * 38, 0.28)
            pen.oval(x, y, head.unit * 0.17 * max(facing, 0.3), head.unit * 0.12, mix(head.skin, (226, 96, 84), 0.2))


def _ear_place(head: Head, side: int) -> Point:
    return head.at(side * 88, 0.06)


def _draw_ears(pen: Pen, head: Head) -> None:
    for side in (-1, 1):
        facing = head.facing(side * 90)
        if facing < -0.35:
            continue
        x, y = _ear_place(head, side)
        if head.character.hair not in COVERS_EARS:
            pen.oval(
                x,
                y,
                head.unit * (0.1 + 0.05 * max(facing, 0)),
                head.unit * 0.19,
                head.shadow if facing > 0.3 else head.skin,
            )
            pen.oval(x, y, head.unit * 0.05, head.unit * 0.1, head.deep_shadow if facing > 0.3 else head.shadow)
        if head.character.earrings:
            pen.oval(x, y + 0.28 * head.unit, head.unit * 0.075, head.unit * 0.075, GOLD)


def _draw_beard(pen: Pen, head: Head) -> None:
    beard = head.character.beard
    if beard in ("full beard", "stubble"):
        colour = head.hair if beard == "full beard" else mix(head.skin, head.hair, 0.4)
        drop = 0.1 if beard == "full beard" else 0.0
        limit = math.degrees(head.yaw)
        azimuths = [azimuth for azimuth in range(-84, 85, 7) if -90 - limit <= azimuth <= 90 - limit]
        if len(azimuths) < 3:
            return
        upper = [head.at(azimuth, _beard_edge(abs(azimuth))) for azimuth in azimuths]
        lower = []
        for sign, steps in ((1, range(13)), (-1, range(12, -1, -1))):
            for step in steps:
                height = 0.42 + 0.58 * step / 12
                x = head.x + head.width * 1.02 * head.outline(height) * sign
                y = head.y + height * head.unit + drop * head.unit * (height > 0.8)
                lower.append((max(upper[0][0] - 2, min(upper[-1][0] + 2, x)), y))
        pen.area(upper + lower, colour)
    elif beard == "goatee":
        shape = [(-17, 0.66), (-20, 0.82), (-12, 1.0), (0, 1.06), (12, 1.0), (20, 0.82), (17, 0.66)]
        pen.area(head.seen([(float(azimuth), height) for azimuth, height in shape], 0.05), head.hair)


def _beard_edge(azimuth: int) -> float:
    """Height of the beard's upper edge: up to the ear at the sides, around the mouth in the middle."""
    if azimuth > 74:
        return 0.12
    return 0.44 if azimuth > 26 else 0.38


def _draw_nose(pen: Pen, head: Head) -> None:
    proportions = head.character.proportions
    length = 0.26 + 0.06 * proportions.nose_length
    reach = head.sin * head.unit * (0.19 + 0.05 * proportions.nose_size)
    wing = head.unit * (0.12 + 0.035 * proportions.nose_size) * max(0.45, abs(head.cos))
    tip_x, tip_y = head.at(0, length)
    if abs(head.sin) > 0.3:
        bridge, base = head.at(0, -0.14), head.at(0, length + 0.1)
        colour = head.skin if abs(head.sin) > 0.9 else mix(head.skin, head.shadow, 0.55)
        middle = ((bridge[0] + tip_x) / 2 + reach * 0.35, (bridge[1] + tip_y) / 2)
        pen.area(
            [bridge, middle, (tip_x + reach, tip_y), (tip_x + reach * 0.85, tip_y + head.unit * 0.07), base], colour
        )
    shift, width = (0.5, 1.3) if abs(head.cos) > 0.35 else (0.35, 1.1)
    stroke = max(1.0, head.unit * 0.03) * width
    pen.arc(tip_x + reach * shift, tip_y + wing * 0.1, wing, wing * 0.7, 15, 165, head.deep_shadow, stroke)


def _draw_eye(pen: Pen, head: Head, side: int) -> None:
    azimuth, size = side * _eye_azimuth(head), _eye_size(head)
    facing = head.facing(azimuth)
    if facing < 0.12:
        return
    x, y = head.at(azimuth, EYE_HEIGHT)
    expression = head.view.expression
    opening = EYE_OPENING[expression]
    narrow = max(0.34, min(1.0, facing * 1.08))
    iris, look = size * 0.54, head.sin * size * 0.3
    pen.oval(x, y, size * narrow, size * opening * 1.18, head.shadow)
    pen.oval(x, y + size * 0.04, size * narrow, size * opening, WHITE)
    pen.oval(
        x + look, y + 0.02 * size, iris * max(narrow, 0.55), min(iris, size * opening), EYE_COLOURS[head.character.eyes]
    )
    pen.oval(x + look, y + 0.02 * size, iris * 0.48 * max(narrow, 0.55), iris * 0.48, (18, 14, 14))
    pen.oval(x + look - iris * 0.3, y - iris * 0.3, iris * 0.22, iris * 0.22, (255, 255, 255))
    lid = [(-1.0, -0.55), (-0.4, -1.08), (0.4, -1.08), (1.0, -0.55)]
    if expression == "angry":
        lid = [(-1.0, -0.9 + 0.5 * side), (1.0, -0.9 - 0.5 * side)]
        inner = -side * size * narrow
        top = y - size * opening * 1.2
        pen.area([(x + inner, top), (x - inner, top), (x + inner, y - size * opening * 0.3)], head.shadow)
    pen.line([(x + dx * size * narrow, y + dy * size * opening) for dx, dy in lid], (40, 28, 26), head.unit * 0.042)
    if expression == "sad":
        pen.oval(x + side * size * 0.1, y + size * 1.05, size * 0.15, size * 0.28, (120, 190, 240))


def _draw_brow(pen: Pen, head: Head, side: int) -> None:
    azimuth = _eye_azimuth(head)
    inner, outer = BROW_HEIGHTS[head.view.expression]
    middle = (inner + outer) / 2 - 0.04
    dark = (70, 50, 40) if head.character.hair == "bald" and head.character.hair_colour in UNNATURAL_HAIR else head.hair
    places = [(side * (azimuth - 16), inner), (side * azimuth, middle), (side * (azimuth + 17), outer)]
    pen.stroke(head.seen(places), shade(dark, 0.72), head.unit * BROW_WIDTH[head.character.brows])


def _mouth_azimuth(head: Head) -> float:
    return 24 + 3 * head.character.proportions.mouth_width + (6 if head.view.expression == "smiling" else 0)


def _draw_moustache(pen: Pen, head: Head) -> None:
    if head.character.beard not in ("moustache", "full beard"):
        return
    end = _mouth_azimuth(head) + 5
    shape = [(-end, 0.58), (-12, 0.43), (0, 0.46), (12, 0.43), (end, 0.58), (10, 0.55), (0, 0.53), (-10, 0.55)]
    colour = head.hair if head.character.beard == "moustache" else shade(head.hair, 0.86)
    pen.area(head.seen(shape, 0.0), colour)


def _draw_mouth(pen: Pen, head: Head) -> None:
    expression, half = head.view.expression, _mouth_azimuth(head)
    curve = MOUTH_CURVE[expression]
    lip = mix(head.skin, (176, 52, 58), 0.55)
    azimuths = [-half + half * step / 5 for step in range(11)]
    middle = MOUTH_HEIGHT + curve * 0.3
    upper = head.seen([(azimuth, middle - curve * (azimuth / half) ** 2) for azimuth in azimuths])
    if len(upper) < 3:
        return
    if expression == "smiling":
        lower = head.seen([(a, middle + 0.19 * (1 - (a / half) ** 2) - curve * (a / half) ** 2) for a in azimuths])
        pen.area(upper + lower[::-1], (120, 30, 36))
        pen.area(upper + [(x, y + head.unit * 0.06) for x, y in reversed(upper)], WHITE)
        pen.line(upper, shade(lip, 0.8), head.unit * 0.04)
        pen.line(lower, lip, head.unit * 0.048)
    elif expression == "angry":
        pen.line(upper, (90, 24, 28), head.unit * 0.13)
        pen.line(upper, (246, 242, 238), head.unit * 0.065)
    else:
        pen.line([(x, y + head.unit * 0.035) for x, y in upper], lip, head.unit * 0.085)
        pen.line(upper, shade(lip, 0.62), head.unit * 0.035)


def _draw_marks(pen: Pen, head: Head) -> None:
    """Freckles and a scar, always in the same places."""
    if head.character.freckles:
        chance = chance_of(head.character.seed, "freckles")
        colour = mix(head.skin, (140, 70, 36) if sum(head.skin) > 330 else (190, 130, 90), 0.62)
        for _ in range(26):
            azimuth, height = chance.choice((-1, 1)) * chance.uniform(8, 50), chance.uniform(0.08, 0.36)
            if head.facing(azimuth) > 0.15:
                pen.oval(*head.at(azimuth, height), head.unit * 0.028, head.unit * 0.028, colour)
    if head.character.scar != "none":
        # The character's left is on the viewer's right.
        side = 1 if head.character.scar == "left" else -1
        if head.facing(side * 33) > 0.1:
            places = [head.at(side * azimuth, height) for azimuth, height in ((26, 0.06), (33, 0.25), (36, 0.5))]
            pen.stroke(places, mix(head.skin, (190, 40, 50), 0.7), head.unit * 0.06)


def _draw_glasses(pen: Pen, head: Head) -> None:
    if head.character.glasses == "none":
        return
    azimuth, size, width = _eye_azimuth(head), _eye_size(head), head.unit * 0.055
    inner_end: Point | None = None
    for side in (-1, 1):
        facing = head.facing(side * azimuth)
        if facing < 0.12:
            continue
        x, y = head.at(side * azimuth, EYE_HEIGHT + 0.02)
        narrow = max(0.38, facing)
        reach_x, reach_y = size * 1.5 * narrow, size * (1.42 if head.character.glasses == "round" else 1.12)
        if head.facing(side * 88) > -0.35:
            ear_x, ear_y = _ear_place(head, side)
            pen.line([(x + side * reach_x, y), (ear_x, ear_y - head.unit * 0.1)], FRAME, width)
        if inner_end is not None:
            pen.line([inner_end, (x - reach_x, y)], FRAME, width)
        draw = pen.ring if head.character.glasses == "round" else pen.frame
        draw(x, y, reach_x, reach_y, FRAME, width)
        inner_end = (x + reach_x, y)
