"""Colours and strokes: a thin layer over Pillow's drawing."""

from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw

from flenwheel_core.nano.world.characters import Rgb

Point = tuple[float, float]

WHITE: Rgb = (252, 250, 246)


def mix(first: Rgb, second: Rgb, share: float) -> Rgb:
    """The first colour with a `share` of the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def shade(colour: Rgb, factor: float) -> Rgb:
    """The colour darker or lighter by a factor."""
    red, green, blue = (max(0, min(255, round(channel * factor))) for channel in colour)
    return red, green, blue


class Pen:
    """Draws on one picture; coordinates and widths in pixels."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self._draw = ImageDraw.Draw(image)

    def area(self, points: Sequence[Point], colour: Rgb) -> None:
        """A filled polygon; nothing for fewer than three points."""
        if len(points) > 2:
            self._draw.polygon(points, fill=colour)

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Rgb) -> None:
        """A filled ellipse around a centre."""
        self._draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=colour)

    def ring(self, x: float, y: float, rx: float, ry: float, colour: Rgb, width: float) -> None:
        """The outline of an ellipse."""
        self._draw.ellipse((x - rx, y - ry, x + rx, y + ry), outline=colour, width=max(1, round(width)))

    def box(self, left: float, top: float, right: float, bottom: float, colour: Rgb) -> None:
        """A filled rectangle."""
        if right > left and bottom > top:
            self._draw.rectangle((left, top, right, bottom), fill=colour)

    def frame(self, x: float, y: float, rx: float, ry: float, colour: Rgb, width: float) -> None:
        """The outline of a rounded rectangle around a centre."""
        shape = (x - rx, y - ry, x + rx, y + ry)
        self._draw.rounded_rectangle(shape, radius=min(rx, ry) * 0.25, outline=colour, width=max(1, round(width)))

    def line(self, points: Iterable[Point], colour: Rgb, width: float) -> None:
        """A line through points."""
        points = list(points)
        if len(points) > 1:
            self._draw.line(points, fill=colour, width=max(1, round(width)), joint="curve")

    def stroke(self, points: Iterable[Point], colour: Rgb, width: float) -> None:
        """A line with round ends."""
        points = list(points)
        if len(points) < 2:
            return
        self.line(points, colour, width)
        for x, y in (points[0], points[-1]):
            self.oval(x, y, width / 2, width / 2, colour)

    def limb(self, points: Sequence[Point], colour: Rgb, width: float) -> None:
        """A thick line with round joints: an arm or a leg."""
        self.line(points, colour, width)
        for x, y in points:
            self.oval(x, y, width / 2, width / 2, colour)

    def arc(
        self, x: float, y: float, rx: float, ry: float, first: float, last: float, colour: Rgb, width: float
    ) -> None:
        """Part of an ellipse's outline, in degrees clockwise from the right."""
        shape = (x - rx, y - ry, x + rx, y + ry)
        self._draw.arc(shape, first, last, fill=colour, width=max(1, round(width)))
