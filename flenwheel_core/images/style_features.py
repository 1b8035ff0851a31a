"""What style is made of, as numbers of a picture: shadows, broken colour, strokes, effect against detail. No weights, no download.

What impressionists are said to do is measured, not recognised: no black, shadows in a colour of their own, pure colours side by side, short
strokes that lie along something, effect before detail. Pictures are compared at one size, since a stroke has a length.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.float32]
SIDE_PX = 512
"""Longer side at which pictures are measured; smaller ones keep their size."""
NEAR_BLACK = 10.0
"""L* below which a pixel is near black."""
_TONES = 0.25
"""Share of the pixels, darkest and lightest, that are called shadow and light."""
_SCALES = (1.0, 2.0, 4.0)
"""Of the structure tensor, in pixels of a picture of 256."""
_LAGS = (1, 2, 3, 4, 6, 8, 12)
_BINS = 12
PALETTE_PIXELS = 256


@dataclass(frozen=True)
class StyleFeatures:
    """The numbers of one picture, and a sample of its colours."""

    values: NDArray[np.float64]
    """In the order of `NAMES`."""
    palette: Pixels
    """(PALETTE_PIXELS, 3) L*a*b*."""


def style_features(image: Image.Image, side_px: int = SIDE_PX) -> StyleFeatures:
    """The features of a picture, measured at a longer side of at most `side_px`."""
    scale = side_px / max(image.size)
    if scale < 1:
        size = (max(16, round(image.width * scale)), max(16, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BOX)
    rgb = np.asarray(image.convert("RGB"), np.float32) / 255
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    unit = max(image.size) / 256
    values = [one.measure(lab, unit) for one in _MEASURES.values()]
    points = lab.reshape(-1, 3)
    places = np.linspace(0, len(points) - 1, PALETTE_PIXELS).astype(int)
    return StyleFeatures(np.asarray(values), np.asarray(points[places], np.float32))


def features_of(images: Sequence[Image.Image], side_px: int = SIDE_PX) -> list[StyleFeatures]:
    """The features of several pictures, in order."""
    return [style_features(image, side_px) for image in images]


def _near_black(lab: Pixels, unit: float) -> float:
    return float((lab[..., 0] < NEAR_BLACK).mean())


def _tones(lab: Pixels) -> tuple[Pixels, Pixels]:
    """(a*, b*) of the shadows and of the lights, (number, 2) each."""
    light, colour = lab[..., 0].ravel(), lab[..., 1:].reshape(-1, 2)
    low, high = np.quantile(light, (_TONES, 1 - _TONES))
    return colour[light <= low], colour[light >= high]


def _shadow_chroma(lab: Pixels, unit: float) -> float:
    return float(np.hypot(*_tones(lab)[0].T).mean())


def _shadow_hue(lab: Pixels, unit: float) -> float:
    """How far the hue of shadows lies from that of lights, in radians, by as much as both have a hue: 0 for grey pictures."""
    shade, shine = (tone.mean(0) for tone in _tones(lab))
    between = abs(np.angle(complex(*shade) * complex(*shine).conjugate()))
    return float(between * min(1.0, np.hypot(*shade) / 10) * min(1.0, np.hypot(*shine) / 10))


def _broken_colour(lab: Pixels, unit: float) -> float:
    """Standard deviation of a* and b* among neighbours: pure colours side by side, whatever they mix to."""
    return float(np.sqrt(np.maximum(_local_variance(lab[..., 1:], 2.0 * unit).sum(-1), 0)).mean())


def _broken_light(lab: Pixels, unit: float) -> float:
    return float(np.sqrt(np.maximum(_local_variance(lab[..., :1], 2.0 * unit), 0)).mean())


def _chroma(lab: Pixels, unit: float) -> float:
    return float(np.hypot(lab[..., 1], lab[..., 2]).mean())


def _detail(lab: Pixels, unit: float) -> float:
    """Fine against coarse contrast, log2: low where the effect of the whole goes before detail."""
    fine = lab[..., 0] - cv2.GaussianBlur(lab[..., 0], (0, 0), 0.8 * unit)
    coarse = cv2.GaussianBlur(lab[..., 0], (0, 0), 4 * unit) - cv2.GaussianBlur(lab[..., 0], (0, 0), 16 * unit)
    return float(np.log2((fine.std() + 0.1) / (coarse.std() + 0.1)))


def _coherence(scale: float) -> Callable[[Pixels, float], float]:
    """How much strokes lie side by side, 0 to 1: the structure tensor's anisotropy, weighted by its strength."""

    def measure(lab: Pixels, unit: float) -> float:
        double, strength = _orientation(lab, scale * unit)
        return float(np.abs(double).sum() / max(float(strength.sum()), 1e-6))

    return measure


def _orientation_entropy(scale: float) -> Callable[[Pixels, float], float]:
    """How many directions strokes have, 0 (one) to 1 (all alike)."""

    def measure(lab: Pixels, unit: float) -> float:
        double, _ = _orientation(lab, scale * unit)
        turned = (np.angle(double) / (2 * np.pi)) % 1
        weight = np.bincount((turned * _BINS).astype(int).ravel() % _BINS, np.abs(double).ravel(), minlength=_BINS)
        share = weight / max(float(weight.sum()), 1e-6)
        return float(-(share * np.log(share + 1e-12)).sum() / np.log(_BINS))

    return measure


def _stroke(across: bool) -> Callable[[Pixels, float], float]:
    """How far a stroke reaches along its direction, or across it, in pixels of a picture of 256: where neighbours no longer agree."""

    def measure(lab: Pixels, unit: float) -> float:
        fine = lab - cv2.GaussianBlur(lab, (0, 0), 6 * unit)
        double, _ = _orientation(lab, 2.0 * unit)
        angle = np.angle(double) / 2 + (0 if across else np.pi / 2)
        rows, columns = np.mgrid[0 : lab.shape[0], 0 : lab.shape[1]].astype(np.float32)
        power, reach, before = float((fine * fine).mean()) + 1e-6, 0.0, 0
        for lag in _LAGS:
            x = (columns + lag * unit * np.cos(angle)).astype(np.float32)
            y = (rows + lag * unit * np.sin(angle)).astype(np.float32)
            moved = cv2.remap(fine, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            reach += max(0.0, float((fine * moved).mean()) / power) * (lag - before)
            before = lag
        return reach

    return measure


def _orientation(lab: Pixels, scale: float) -> "tuple[NDArray[np.complex64], Pixels]":
    """The structure tensor (Bigun and Granlund 1987): anisotropy as a number of doubled angle (across the stroke), and strength."""
    light = cv2.GaussianBlur(lab[..., 0], (0, 0), max(0.5, scale / 2))
    right, down = cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)
    xx, yy, xy = (cv2.GaussianBlur(one, (0, 0), 2 * scale) for one in (right * right, down * down, right * down))
    return np.asarray((xx - yy) + 2j * xy, np.complex64), np.asarray(xx + yy, np.float32)


def _local_variance(values: Pixels, sigma: float) -> Pixels:
    mean = cv2.GaussianBlur(values, (0, 0), sigma)
    square = cv2.GaussianBlur(values * values, (0, 0), sigma)
    return np.asarray((square - mean * mean).reshape(values.shape), np.float32)


@dataclass(frozen=True)
class _Measure:
    measure: Callable[[Pixels, float], float]
    least_spread: float
    """A difference as large is worth a standard deviation even where paintings differ less: none has black, and a little more is little."""


_MEASURES: dict[str, _Measure] = {
    "near_black": _Measure(_near_black, 0.03),
    "shadow_chroma": _Measure(_shadow_chroma, 1.0),
    "shadow_hue": _Measure(_shadow_hue, 0.1),
    "broken_colour": _Measure(_broken_colour, 0.5),
    "broken_light": _Measure(_broken_light, 0.5),
    "chroma": _Measure(_chroma, 1.0),
    "detail": _Measure(_detail, 0.1),
    **{f"coherence_{scale:g}": _Measure(_coherence(scale), 0.03) for scale in _SCALES},
    **{f"orientations_{scale:g}": _Measure(_orientation_entropy(scale), 0.03) for scale in _SCALES},
    "stroke_length": _Measure(_stroke(across=False), 0.15),
    "stroke_width": _Measure(_stroke(across=True), 0.15),
}
NAMES = tuple(_MEASURES)
"""The features, in the order of `StyleFeatures.values`."""
LEAST_SPREAD = np.array([one.least_spread for one in _MEASURES.values()])
"""Least standard deviation of each feature among paintings of a style that distances are told in."""
