"""Spoiled pictures of known kind, for testing screening and reviewers."""

import random
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from flenwheel_core.base.ids import derive_seed
from flenwheel_core.documents.images import ANGLES, EXPRESSIONS
from flenwheel_core.nano.world.chance import chance_of
from flenwheel_core.nano.world.characters import HELD_OUT_FROM, Character, make_character
from flenwheel_core.nano.world.render import render
from flenwheel_core.nano.world.views import View

SpoilKind = Literal[
    "wrong_identity", "smeared_face", "wrong_angle", "wrong_expression", "blur", "near_copy", "bad_exposure"
]
SPOIL_KINDS: tuple[SpoilKind, ...] = get_args(SpoilKind)


@dataclass(frozen=True)
class Spoiled:
    """A picture that should be refused, and why: `detail` is the other character, angle, radius or factor."""

    image: Image.Image
    kind: SpoilKind
    detail: str


def spoil(kind: SpoilKind, character: Character, view: View, seed: int, *, size: int = 128) -> Spoiled:
    """The picture that `view` asks for, spoiled in one known way. `near_copy` hardly differs from the right picture."""
    chance = chance_of(seed, "spoil", kind)
    match kind:
        case "wrong_identity":
            first = HELD_OUT_FROM if character.seed >= HELD_OUT_FROM else 0
            other = make_character(first + derive_seed(seed, "other", character.seed) % HELD_OUT_FROM)
            return Spoiled(render(other, view, size), kind, f"character {other.seed}")
        case "wrong_angle" | "wrong_expression":
            field = kind.removeprefix("wrong_")
            choices = ANGLES if field == "angle" else EXPRESSIONS
            value = chance.choice([value for value in choices if value != getattr(view, field)])
            changed = {field: value}
            return Spoiled(render(character, replace(view, **changed), size), kind, value)  # type: ignore[arg-type]
    picture = render(character, view, size)
    match kind:
        case "smeared_face":
            return Spoiled(_smeared(picture, view, chance), kind, "face")
        case "blur":
            radius = size * chance.uniform(0.02, 0.035)
            return Spoiled(picture.filter(ImageFilter.GaussianBlur(radius)), kind, f"radius {radius:.1f} px")
        case "near_copy":
            factor = chance.choice((0.97, 0.98, 1.02, 1.03))
            return Spoiled(ImageEnhance.Brightness(picture).enhance(factor), kind, f"brightness {factor}")
        case "bad_exposure":
            factor = chance.choice((0.2, 0.28, 1.8, 2.2))
            return Spoiled(ImageEnhance.Brightness(picture).enhance(factor), kind, f"brightness {factor}")


def _smeared(picture: Image.Image, view: View, chance: random.Random) -> Image.Image:
    """The face pulled about, as a failed denoising does; the rest stays."""
    pixels = np.asarray(picture)
    size = len(pixels)
    centre_y, radius = (0.43, 0.3) if view.pose == "portrait" else (0.22, 0.13)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    distance = np.hypot(x - 0.5, y - centre_y) / radius
    strength = np.clip(1.2 - distance, 0, 1) * radius * 0.75
    turn = chance.uniform(0, 6.28)
    wave = np.sin(9.0 * (x + y) / radius / 2 + turn) + np.cos(7.0 * (x - y) / radius / 2 - turn)
    source_x = np.clip((x + strength * wave * chance.uniform(0.35, 0.5)) * size, 0, size - 1).astype(int)
    source_y = np.clip((y + strength * np.roll(wave, size // 7, 0) * chance.uniform(0.35, 0.5)) * size, 0, size - 1)
    warped = Image.fromarray(pixels[source_y.astype(int), source_x]).filter(ImageFilter.BoxBlur(size * 0.012))
    mask = Image.fromarray((np.clip(1.1 - distance, 0, 1) * 255).astype(np.uint8))
    return Image.composite(warped, picture, mask)
