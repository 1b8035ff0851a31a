"""Hair: what hangs behind the body, what lies on the skull, and locks that fall in front."""

import math

from flenwheel_core.nano.world.characters import Rgb
from flenwheel_core.nano.world.head import Head
from flenwheel_core.nano.world.pen import WHITE, Pen, Point, mix, shade

VOLUME = {
    "buzzed": 1.02,
    "short": 1.08,
    "spiky": 1.06,
    "curly": 1.1,
    "afro": 1.12,
    "bob": 1.12,
    "long straight": 1.1,
    "long wavy": 1.13,
    "ponytail": 1.06,
    "bun": 1.06,
}
HANGING = {"bob": 0.8, "long straight": 1.72, "long wavy": 1.62}
"""How far hair hangs below the middle of the head, in half head heights."""
COVERS_EARS = (*HANGING, "afro")


def draw_hair_behind(pen: Pen, head: Head) -> None:
    """Everything of the hair that the neck, the body and the face hide."""
    style = head.character.hair
    if style in HANGING:
        pen.area(_curtain(head), shade(head.hair, 0.78))
    elif style == "ponytail":
        _draw_ponytail(pen, head)
    elif style == "bun":
        x, y = head.x + head.back * head.unit * 0.6, head.y - head.unit * (1.2 - 0.34 * abs(head.back))
        pen.oval(x, y, head.unit * 0.37, head.unit * 0.35, shade(head.hair, 0.9))
        pen.arc(x, y, head.unit * 0.24, head.unit * 0.22, 190, 320, mix(head.hair, WHITE, 0.16), head.unit * 0.05)
    elif style == "afro":
        for step in range(24):
            angle = math.pi * (0.9 + 1.2 * step / 23)
            x = head.x + math.cos(angle) * head.width * 1.16 + head.back * head.unit * 0.1
            pen.oval(x, head.y - head.unit * (0.2 - 1.1 * math.sin(angle)), *(head.unit * 0.27,) * 2, head.hair)
        pen.oval(head.x + head.back * head.unit * 0.1, head.y - 0.3 * head.unit, head.width * 1.2, head.unit, head.hair)


def _curtain(head: Head) -> list[Point]:
    """Hair that hangs from the skull, rounded below; on the face's side it stops short when the head is turned."""
    style = head.character.hair
    end = HANGING[style] + 0.12 * head.character.proportions.hair_length
    reach = head.width * (1.3 if style == "long wavy" else 1.2)
    middle = head.x + head.back * head.unit * 0.2
    left, right = [], []
    for step in range(29):
        share = step / 28
        height = -0.8 + (end + 0.8) * share
        wave = 0.08 * head.unit * math.sin(step * 1.05 + 1) if style == "long wavy" else 0
        # Both ends are rounded: it leaves the skull smoothly and ends softly.
        taper = math.sqrt(max(0.0, 1 - max(0.0, (share - 0.82) / 0.18) ** 2)) * 0.45 + 0.55
        taper *= math.sqrt(max(0.0, 1 - max(0.0, (-0.1 - height) / 0.72) ** 2))
        fullness = taper * (1 + 0.1 * max(0.0, height) if style == "bob" else 1)
        short = abs(head.sin) * 0.95 * max(0.0, min(1.0, (height + 0.2) / 0.45))
        reach_left = reach * fullness * (1 - (short if head.back > 0 else 0))
        reach_right = reach * fullness * (1 - (short if head.back < 0 else 0))
        left.append((middle - reach_left - wave, head.y + height * head.unit))
        right.append((middle + reach_right + wave, head.y + height * head.unit))
    return left + right[::-1]


def _draw_ponytail(pen: Pen, head: Head) -> None:
    """A tail that leaves the back of the head and tapers; from the front it shows beside the neck."""
    colour = shade(head.hair, 0.84)
    direction = head.back if abs(head.back) > 0.3 else -0.42
    root_x, root_y = head.x + direction * head.width * 0.92, head.y - 0.42 * head.unit
    out = 0.62 * abs(direction) + 0.18
    sign = math.copysign(1, direction)
    steps = 12
    upper, lower = [], []
    length = 1.5 + 0.15 * head.character.proportions.hair_length
    for step in range(steps + 1):
        share = step / steps
        x = root_x + sign * head.unit * out * math.sin(share * 2.1) * 0.85
        y = root_y + head.unit * (length * share - 0.22 * math.sin(share * 3.1))
        thick = head.unit * (0.2 + 0.12 * math.sin(share * 3.1)) * (1 - 0.55 * share**2)
        upper.append((x + sign * thick, y - thick * 0.3))
        lower.append((x - sign * thick, y + thick * 0.3))
    pen.area(upper + lower[::-1], colour)
    pen.oval(*lower[-1], head.unit * 0.09, head.unit * 0.09, colour)
    pen.oval(root_x, root_y, head.unit * 0.17, head.unit * 0.2, shade(head.hair, 0.6))


def draw_hair_on_skull(pen: Pen, head: Head) -> None:
    """Hair on the skull with the face left free, and the fringe. Bald heads and mohawks keep their skin."""
    style = head.character.hair
    if style == "mohawk":
        _draw_mohawk(pen, head)
    if style in ("bald", "mohawk"):
        return
    colour = mix(head.skin, head.hair, 0.66) if style == "buzzed" else head.hair
    low = {"bob": 0.72, "long straight": 0.85, "long wavy": 0.85, "afro": 0.3}.get(style, 0.3)
    pen.area(head.silhouette(VOLUME[style], -1, low), colour)
    if style == "curly":
        for step in range(15):
            angle = math.pi * (1 + step / 14)
            x, y = (
                head.x + math.cos(angle) * head.width * 1.05,
                head.y - 0.05 * head.unit + math.sin(angle) * head.unit * 1.02,
            )
            pen.oval(x, y, head.unit * 0.2, head.unit * 0.2, colour)
    if style == "spiky":
        _draw_spikes(pen, head, colour)
    if style != "buzzed":
        band = [(-50 + 10 * step, -0.86 + 0.025 * abs(step - 4)) for step in range(9)]
        pen.line(head.seen(band, 0.1), mix(colour, WHITE, 0.2), head.unit * 0.07)
    _draw_face_opening(pen, head, colour)


def _draw_face_opening(pen: Pen, head: Head, colour: Rgb) -> None:
    """The face within the hair, with its hairline and fringe."""
    character = head.character
    hairline = -0.52 + 0.08 * character.proportions.hairline + (0.14 if character.fringe == "straight" else 0)
    long_hair = character.hair in HANGING
    side = 64.0 if long_hair else 76.0

    def edge(height: float) -> float:
        """Narrow at the temples, to the ear in the middle, and past it below unless hair hangs there."""
        if long_hair:
            return side + max(0.0, height) * 14
        temple = min(1.0, (height - hairline) / 0.5)
        return side - 14 * (1 - temple) ** 2 if height < 0.32 else 104.0

    pen.area(head.patch(lambda height: -edge(height), edge, hairline, 1.0), head.skin)
    if character.hair == "buzzed":
        return
    if character.fringe == "side":
        sweep = [(-side, hairline - 0.03), (-side, hairline + 0.3), (-20.0, hairline + 0.1), (34.0, hairline - 0.03)]
        if sum(head.facing(azimuth) > 0 for azimuth, _ in sweep) >= 3:
            pen.area([head.at(*place) for place in sweep], colour)
    elif character.fringe == "straight":
        for step in range(6):
            first, last = -side + step * side / 3, -side + (step + 1) * side / 3
            middle = (first + last) / 2
            if head.facing(middle) > 0.05:
                tooth = ((first, hairline - 0.04), (last, hairline - 0.04), (middle, hairline + 0.13))
                pen.area([head.at(*place) for place in tooth], colour)


def _draw_spikes(pen: Pen, head: Head, colour: Rgb) -> None:
    for step in range(9):
        angle = math.pi * (1.08 + 0.84 * step / 8)
        for half, length in ((0.09, 1.34), (0.18, 1.22)):
            spike = []
            for turn, reach in ((-half, 1.0), (0.0, length), (half, 1.0)):
                x = head.x + math.cos(angle + turn) * head.width * reach
                spike.append((x, head.y + math.sin(angle + turn) * head.unit * reach))
            pen.area(spike, colour)


def _draw_mohawk(pen: Pen, head: Head) -> None:
    """A crest along the middle of the skull: a fan from the side, a blade from the front."""
    if abs(head.sin) > 0.5:
        crest = []
        for reach, steps in ((1.34, range(13)), (0.93, range(12, -1, -1))):
            for step in steps:
                angle = math.pi * (1.05 + 0.9 * step / 12)
                rise = 1 + (reach - 1) * (1 if reach < 1 else 0.75 + 0.25 * math.sin(math.pi * step / 12))
                crest.append(
                    (head.x + math.cos(angle) * head.width * rise, head.y + math.sin(angle) * head.unit * rise)
                )
        pen.area(crest, head.hair)
        return
    x, unit = head.x + head.sin * head.width * 0.35, head.unit
    blade = [(-0.2, -0.6), (-0.2, -1.2), (-0.1, -1.38), (0.1, -1.38), (0.2, -1.2), (0.2, -0.6)]
    pen.area([(x + dx * unit, head.y + dy * unit) for dx, dy in blade], head.hair)


def draw_locks(pen: Pen, head: Head) -> None:
    """Locks of long hair in front of the shoulders, beside the face."""
    style = head.character.hair
    if style not in ("long straight", "long wavy"):
        return
    end = HANGING[style] - 0.12 + 0.12 * head.character.proportions.hair_length
    for side in (-1, 1):
        if head.facing(side * 78) < -0.2:
            continue
        inner, outer = [], []
        for step in range(15):
            share = step / 14
            height = -0.1 + (end + 0.1) * share
            start = head.x + head.width * 1.02 * math.sin(math.radians(side * 80) + head.yaw)
            x = start + side * head.unit * 0.1 * share * (1 - abs(head.sin)) + head.back * head.unit * 0.22 * share
            wave = 0.06 * head.unit * math.sin(step * 1.3 + 1) if style == "long wavy" else 0
            thick = head.unit * 0.17 * math.sqrt(max(0.0, 1 - share**3)) * min(1.0, 0.5 + share * 2)
            inner.append((x - thick + wave, head.y + height * head.unit))
            outer.append((x + thick + wave, head.y + height * head.unit))
        pen.area(inner + outer[::-1], shade(head.hair, 0.92))
