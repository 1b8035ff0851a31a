"""The shape of a head: points on it by azimuth and height, seen at some yaw.

Azimuth 0 is the middle of the face, +-90 the ears, in degrees; height runs from -1 (crown) to 1 (chin).
"""

import math
from collections.abc import Callable, Sequence

from flenwheel_core.nano.world.chance import chance_of
from flenwheel_core.nano.world.characters import Character, Rgb
from flenwheel_core.nano.world.pen import Point, shade
from flenwheel_core.nano.world.views import YAW_DEGREES, View

FACE_WIDTH = {"round": 1.0, "oval": 0.84, "square": 0.9, "long": 0.74, "heart-shaped": 0.87}
JAW_POWER = {"round": 2.1, "oval": 1.95, "square": 3.0, "long": 2.2, "heart-shaped": 1.55}
YAW_JITTER_DEGREES = 4.0


class Head:
    """One head in one view: where it is, how it is turned, what colours it has."""

    def __init__(self, character: Character, view: View, x: float, y: float, half_height: float) -> None:
        proportions = character.proportions
        self.character, self.view = character, view
        self.x, self.y, self.unit = x, y, half_height
        jitter = chance_of(view.seed, "yaw").uniform(-YAW_JITTER_DEGREES, YAW_JITTER_DEGREES)
        self.yaw = math.radians(YAW_DEGREES[view.angle] + jitter)
        self.sin, self.cos = math.sin(self.yaw), math.cos(self.yaw)
        self.back = -self.sin
        """Where the back of the head lies: -1 left, 1 right."""
        half_width = half_height * (FACE_WIDTH[character.face] + 0.035 * proportions.face_width)
        self.width = math.hypot(self.cos * half_width, self.sin * half_height * 0.93)
        """Half the head's width as seen at this yaw."""
        self._jaw = JAW_POWER[character.face] + 0.12 * proportions.jaw
        self.skin: Rgb = character.skin_rgb
        self.hair: Rgb = character.hair_rgb
        self.shadow = shade(self.skin, 0.82)
        self.deep_shadow = shade(self.skin, 0.64)

    @property
    def side_on(self) -> bool:
        """True if seen in profile."""
        return abs(self.sin) > 0.85

    def outline(self, height: float) -> float:
        """Half width at a height, relative to the widest."""
        height = max(-1.0, min(1.0, height))
        if height < 0:
            return float((1 - abs(height) ** 2.3) ** (1 / 2.2))
        return float((1 - height**self._jaw) ** (1 / 1.9))

    def facing(self, azimuth: float) -> float:
        """How much a place faces the viewer: 1 straight on, 0 at the edge, negative behind."""
        return math.cos(math.radians(azimuth) + self.yaw)

    def at(self, azimuth: float, height: float) -> Point:
        """The place in the picture."""
        reach = max(self.outline(height), 0.25)
        return self.x + self.width * reach * math.sin(math.radians(azimuth) + self.yaw), self.y + height * self.unit

    def seen(self, places: Sequence[tuple[float, float]], least: float = 0.02) -> list[Point]:
        """The places (azimuth, height) that face the viewer, in the picture."""
        return [self.at(azimuth, height) for azimuth, height in places if self.facing(azimuth) > least]

    def silhouette(self, scale: float, first: float = -1.0, last: float = 1.0, steps: int = 22) -> list[Point]:
        """The outline from one height to another, scaled outwards above the middle."""
        left, right = [], []
        for step in range(steps + 1):
            height = first + (last - first) * step / steps
            reach = self.width * scale * self.outline(height)
            y = self.y + height * self.unit * (scale if height < 0 else 1)
            left.append((self.x - reach, y))
            right.append((self.x + reach, y))
        return left + right[::-1]

    def patch(
        self, left_edge: Callable[[float], float], right_edge: Callable[[float], float], first: float, last: float
    ) -> list[Point]:
        """The visible part of the surface between two azimuths, which may vary with height."""
        steps = 22
        low, high = -90 - math.degrees(self.yaw), 90 - math.degrees(self.yaw)
        left, right = [], []
        for step in range(steps + 1):
            height = first + (last - first) * step / steps
            start, end = max(left_edge(height), low), min(right_edge(height), high)
            if end > start:
                left.append(self.at(start, height))
                right.append(self.at(end, height))
        return left + right[::-1] if len(left) > 1 else []
